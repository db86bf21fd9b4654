// Starts certified OpenID providers (oidc-provider) for interop_test.go. Each line on standard
// input is a JSON request for a new provider. The answer is a line with its issuer. The process
// exits at the end of its input, and so with the test.
//
// It stores nothing and signs in anyone who presses the button, so it is for loopback only.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

// Standard output is reserved for the answers. Each notice is printed only once.
const said = new Set();
console.info = console.log = console.warn = (notice) => {
  if (!said.has(notice)) {
    console.error(notice);
  }
  said.add(notice);
};

const jwks = {
  keys: [
    ['rsa', { modulusLength: 2048 }],
    ['ec', { namedCurve: 'P-256' }],
    ['ed25519', {}],
  ].map(([kind, options]) => generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' })),
};

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify({ issuer: await start(JSON.parse(line)) })}\n`);
}
process.exit();

// start starts a provider on its own port and returns its issuer. client is the client's
// metadata. The other parameters say how the provider differs from the usual one.
async function start({ client, requirePushed, accessTokensOnce, apis, tls }) {
  // With tls, which has key, cert and ca, every client is asked for a certificate.
  const server = tls ? createSecureServer({ ...tls, requestCert: true, rejectUnauthorized: false }) : createServer();
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const issuer = `${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;
  const calls = [];
  let asked = 0;

  const provider = new Provider(issuer, {
    clients: [client],
    clientAuthMethods: [
      'client_secret_basic', 'client_secret_post', 'private_key_jwt',
      ...(tls ? ['tls_client_auth', 'self_signed_tls_client_auth'] : []),
    ],
    jwks,
    cookies: { keys: [randomBytes(32).toString('hex')] },
    claims: { profile: ['name', 'nickname'], email: ['email', 'email_verified'] },
    findAccount: (_, sub) => ({
      accountId: sub,
      claims(use) {
        asked += use === 'userinfo' ? 1 : 0;
        return { sub, name: 'Ada of the certified provider', nickname: `asked ${asked}`, email: 'ada@example.com', email_verified: true };
      },
    }),
    features: {
      backchannelLogout: { enabled: true },
      devInteractions: { enabled: false },
      jwtResponseModes: { enabled: true },
      dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
      jwtUserinfo: { enabled: true },
      mTLS: {
        enabled: tls !== undefined,
        certificateBoundAccessTokens: true,
        selfSignedTlsClientAuth: true,
        tlsClientAuth: true,
        getCertificate: (ctx) => ctx.socket.getPeerX509Certificate(),
        certificateAuthorized: (ctx) => ctx.socket.authorized,
        certificateSubjectMatches: (ctx, property, expected) =>
          property === 'tls_client_auth_subject_dn' && ctx.socket.getPeerX509Certificate().subject === expected,
      },
      pushedAuthorizationRequests: { requirePushedAuthorizationRequests: requirePushed === true },
      // A token is issued for an API only if the sign-in has named it.
      resourceIndicators: {
        enabled: apis === true,
        defaultResource: () => undefined,
        getResourceServerInfo: (_, audience) => ({ audience, scope: 'orders:read', accessTokenFormat: 'jwt' }),
      },
      requestObjects: { enabled: true },
      revocation: { enabled: true },
      rpInitiatedLogout: {
        logoutSource(ctx, form) {
          ctx.body = `<!doctype html>${form}<button id="sign-out" form="op.logoutForm" name="logout" value="yes">Sign out</button>`;
        },
      },
    },
    // Drop the dispatcher, which forbids requests to loopback addresses.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    issueRefreshToken: (_, { grantTypes }) => grantTypes.includes('refresh_token'),
    loadExistingGrant,
    pkce: { required: () => true },
    rotateRefreshToken: true,
  });
  provider.use(async (ctx, next) => {
    await next();
    if (accessTokensOnce && ctx.oidc?.route === 'userinfo') {
      await ctx.oidc.entities.AccessToken?.destroy();
    }
    calls.push([ctx.oidc?.route, ctx.oidc?.params?.grant_type, ctx.status].filter(Boolean).join(' '));
  });

  const answer = provider.callback();
  server.on('request', (req, res) => {
    if (req.url === '/calls') {
      res.end(JSON.stringify(calls));
    } else if (req.url.startsWith('/interaction/')) {
      interact(provider, req, res).catch((err) => res.destroy(err));
    } else {
      answer(req, res);
    }
  });
  return issuer;
}

// interact serves the sign-in page. Its appearance shows that there is no session yet.
async function interact(provider, req, res) {
  if (req.method === 'GET') {
    res.setHeader('Content-Type', 'text/html');
    res.end('<!doctype html><form method="post"><button id="person-ada">Sign in as Ada</button></form>');
    return;
  }
  await provider.interactionFinished(req, res, { login: { accountId: 'ada' } });
}

// loadExistingGrant grants every requested scope without asking for consent.
async function loadExistingGrant({ oidc: { provider, client, session, params } }) {
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope(params.scope);
  for (const api of [params.resource ?? []].flat()) {
    grant.addResourceScope(api, params.scope);
  }
  await grant.save();
  return grant;
}
