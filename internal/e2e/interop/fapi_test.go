package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestMain has the apps of these tests trust the certificates of [authority].
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "authority")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "ca.pem")
		if err := os.WriteFile(path, []byte(authority().pem), 0o600); err != nil {
			panic(err)
		}
		if err := os.Setenv("SSL_CERT_FILE", path); err != nil { // before anything is verified
			panic(err)
		}
		return m.Run()
	}())
}

// testAuthority issues certificates.
type testAuthority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

// authority returns the one authority of these tests.
var authority = sync.OnceValue(func() *testAuthority {
	a := new(testAuthority)
	a.certificate, a.key = newCertificate("The authority of this test", nil)
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}))
	return a
})

// newCertificate makes a certificate that an issuer has signed, or else itself.
func newCertificate(name string, issuer *testAuthority) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.certificate, issuer.key
	} else {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, template.KeyUsage|x509.KeyUsageCertSign
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		panic(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		panic(err)
	}
	return certificate, key
}

// pems returns a certificate and its key in PEM.
func pems(t *testing.T, certificate *x509.Certificate, key *ecdsa.PrivateKey) (cert, private string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return encode("CERTIFICATE", certificate.Raw), encode("PRIVATE KEY", der)
}

// presenting returns the variables of an app that presents a certificate.
func presenting(t *testing.T, certificate *x509.Certificate, key *ecdsa.PrivateKey) []string {
	t.Helper()
	return []string{
		"CLIENT_TLS_CERT_FILE=" + apptest.WritePEM(t, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}),
		"CLIENT_TLS_KEY_FILE=" + apptest.WritePKCS8(t, key),
	}
}

// overTLS returns a provider that asks clients for certificates of the authority.
func overTLS(t *testing.T, client map[string]any) wantedProvider {
	t.Helper()
	certificate, key := newCertificate("127.0.0.1", authority())
	cert, private := pems(t, certificate, key)
	return wantedProvider{Client: client, TLS: map[string]string{"cert": cert, "key": private, "ca": authority().pem}}
}

// testMutualTLS authenticates by certificates of an authority and by registered ones, and binds access
// tokens to them.
func testMutualTLS(t *testing.T, providers *certifiedProviders) {
	certificate, key := newCertificate("client", authority())
	others, othersKey := newCertificate("another client", authority())
	unknown, unknownKey := newCertificate("client", nil) // the same name, of nobody's authority
	assertion := scriptedop.Key{Algorithm: "ES256", Private: apptest.NewKey(t, "P-256")}
	assertion.ID = thumbprint(t, assertion.Private.(crypto.Signer))
	registered := scriptedop.Key{Algorithm: "ES256", Private: key}.JWK()
	registered["x5c"] = []string{base64.StdEncoding.EncodeToString(certificate.Raw)}
	for name, tt := range map[string]struct {
		client map[string]any
		env    []string
		// byCertificate says that the certificate authenticates the client.
		byCertificate bool
	}{
		"tls_client_auth": {
			map[string]any{"token_endpoint_auth_method": "tls_client_auth", "client_secret": nil, "tls_client_auth_subject_dn": "CN=client"},
			[]string{"CLIENT_AUTH=tls_client_auth"},
			true,
		},
		"self_signed_tls_client_auth": {
			map[string]any{"token_endpoint_auth_method": "self_signed_tls_client_auth", "client_secret": nil, "jwks": map[string]any{"keys": []any{registered}}},
			[]string{"CLIENT_AUTH=self_signed_tls_client_auth"},
			true,
		},
		"private_key_jwt": {
			map[string]any{
				"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256", "client_secret": nil,
				"jwks": map[string]any{"keys": []any{assertion.JWK()}},
			},
			[]string{"CLIENT_AUTH=private_key_jwt", "CLIENT_SIGNING_KEY=" + apptest.WritePKCS8(t, assertion.Private.(crypto.Signer))},
			false,
		},
	} {
		tt.client["tls_client_certificate_bound_access_tokens"] = true
		env := append([]string{"PUSHED_AUTHORIZATION_REQUESTS=always", "AUTH0_CLIENT_SECRET="}, tt.env...)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wanted := overTLS(t, tt.client)
			wanted.AccessTokensOnce = true
			i := providers.startInterop(t, wanted, append(env, presenting(t, certificate, key)...)...)
			dashboard := i.SignIn("/login", "ada")
			i.wantDashboard(dashboard)
			i.wantCalls("userinfo 200", 1) // which refuses a bound token without its certificate
			i.wantDashboard(i.Press(dashboard, "profile-refresh-button"))
			i.wantCalls("token refresh_token 200", 1)
			i.wantCalls("userinfo 200", 2)
			i.Press(dashboard, "qsLogoutBtn")
			i.wantCalls("revocation 200", 1)
		})
		if !tt.byCertificate {
			continue
		}
		for other, presented := range map[string][]string{
			"another client's certificate":    presenting(t, others, othersKey),
			"the certificate of no authority": presenting(t, unknown, unknownKey),
		} {
			t.Run(name+", "+other, func(t *testing.T) {
				t.Parallel()
				i := providers.startInterop(t, overTLS(t, tt.client), append(env, presented...)...)
				i.wantRefused(i.Get("/login"), openid.ReasonProviderUnreachable)
				i.wantCalls("pushed_authorization_request 401", 1)
			})
		}
	}
}

// testRequestObjects signs authorization requests, pushed and by value, for a provider that accepts no
// others.
func testRequestObjects(t *testing.T, providers *certifiedProviders) {
	cases := make(map[string]interopCase)
	for algorithm, kind := range map[string]string{"PS256": "RSA", "ES256": "P-256", "EdDSA": "Ed25519"} {
		key := scriptedop.Key{Algorithm: algorithm, Private: apptest.NewKey(t, kind)}
		key.ID = thumbprint(t, key.Private.(crypto.Signer))
		wanted := wantedProvider{Client: map[string]any{
			"request_object_signing_alg": algorithm, "require_signed_request_object": true, "jwks": map[string]any{"keys": []any{key.JWK()}},
		}}
		signed := func(key any) []string {
			return []string{"REQUEST_OBJECT=on", "CLIENT_SIGNING_ALG=" + algorithm, "CLIENT_SIGNING_KEY=" + apptest.WritePKCS8(t, key.(crypto.Signer))}
		}
		const pushed = "PUSHED_AUTHORIZATION_REQUESTS=always"
		cases[algorithm+", by value"] = interopCase{wanted: wanted, env: signed(key.Private), call: "token authorization_code 200"}
		cases[algorithm+", pushed"] = interopCase{wanted: wanted, env: append(signed(key.Private), pushed), call: "pushed_authorization_request 201"}
		cases[algorithm+", with another key"] = interopCase{
			wanted: wanted, env: append(signed(apptest.NewKey(t, kind)), pushed), refused: openid.ReasonProviderUnreachable,
		}
		cases[algorithm+", not signed"] = interopCase{wanted: wanted, env: []string{pushed}, refused: openid.ReasonProviderUnreachable}
	}
	providers.signInEach(t, cases)
}

// testSignedResponses verifies authorization responses (JARM).
func testSignedResponses(t *testing.T, providers *certifiedProviders) {
	cases := make(map[string]interopCase)
	for _, algorithm := range []string{"PS256", "ES256", "EdDSA"} {
		wanted := wantedProvider{Client: map[string]any{"authorization_signed_response_alg": algorithm}}
		cases[algorithm] = interopCase{wanted: wanted, env: []string{"RESPONSE_MODE=jwt", "AUTHORIZATION_SIGNED_RESPONSE_ALG=" + algorithm}, call: "token authorization_code 200"}
		cases[algorithm+" is not allowed"] = interopCase{wanted: wanted, env: []string{"RESPONSE_MODE=jwt"}, refused: openid.ReasonResponseInvalid}
	}
	providers.signInEach(t, cases)
}

// testProfile signs in with everything that FAPI 2.0 Message Signing demands.
func testProfile(t *testing.T, providers *certifiedProviders) {
	key := scriptedop.Key{Algorithm: "PS256", Private: apptest.NewKey(t, "RSA")}
	key.ID = thumbprint(t, key.Private.(crypto.Signer))
	client := map[string]any{
		"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "PS256", "client_secret": nil,
		"request_object_signing_alg": "PS256", "require_signed_request_object": true, "authorization_signed_response_alg": "ES256",
		"id_token_signed_response_alg": "PS256", "tls_client_certificate_bound_access_tokens": true,
		"jwks": map[string]any{"keys": []any{key.JWK()}},
	}
	certificate, certificateKey := newCertificate("client", authority())
	wanted := overTLS(t, client)
	wanted.RequirePushed = true
	i := providers.startInterop(t, wanted, append(presenting(t, certificate, certificateKey),
		"PROFILE=fapi2-message-signing", "CLIENT_SIGNING_KEY="+apptest.WritePKCS8(t, key.Private.(crypto.Signer)))...)
	dashboard := i.SignIn("/login", "ada")
	i.wantDashboard(dashboard)
	i.wantDashboard(i.Press(dashboard, "profile-refresh-button"))
	i.wantCalls("pushed_authorization_request 201", 1)
	i.wantCalls("token authorization_code 200", 1)
}
