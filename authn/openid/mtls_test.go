package openid_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// withCertificate makes a party that presents a certificate, beside a provider with endpoints for such
// clients. registered is the certificate by which the client authenticates, or nil.
func withCertificate(t *testing.T, o options, presented *tls.Certificate, registered *x509.Certificate) *party {
	t.Helper()
	change := o.config
	o.config = func(c *openid.Config) {
		c.RootCAs, c.PushedAuthorizationRequests = scriptedop.Roots(), "always"
		if presented != nil {
			c.ClientCertificate = func() (*tls.Certificate, error) { return presented, nil }
		}
		change(c)
	}
	p := newParty(t, o)
	p.op.StartMTLS(t, registered) // before discovery
	return p
}

// TestMutualTLS (CB-27) signs in, refreshes and signs out with a certificate, which authenticates the
// client or which access tokens are bound to. The provider gives no token without one, and accepts
// none with another.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	certificate, key := scriptedop.NewCertificate("client"), scriptedop.NewKey("client-key", "ES256")
	all := []scriptedop.Endpoint{scriptedop.PAR, scriptedop.Token, scriptedop.UserInfo, scriptedop.Revoke}
	bound := []scriptedop.Endpoint{scriptedop.Token, scriptedop.UserInfo}
	for name, tt := range map[string]struct {
		options    options
		registered *x509.Certificate
		// aliased are the endpoints that are called with the certificate.
		aliased []scriptedop.Endpoint
	}{
		"CB-27 tls_client_auth": {options{config: func(c *openid.Config) { c.ClientAuth = openid.TLSClientAuth }}, certificate.Leaf, all},
		"CB-27 self_signed_tls_client_auth": {options{config: func(c *openid.Config) {
			c.ClientAuth, c.ClientSecret = openid.SelfSignedTLSClientAuth, ""
		}}, certificate.Leaf, all},
		"CB-27 private_key_jwt, with bound tokens":     {knownByKey(key, func(*openid.Config) {}), nil, bound},
		"CB-27 client_secret_basic, with bound tokens": {options{config: func(*openid.Config) {}}, nil, bound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := withCertificate(t, tt.options, certificate, tt.registered)
			in := p.signIn()
			p.wantSignedIn(in, "alice")
			if in.Identity.Profile.Name == "" {
				t.Error("userinfo has not answered")
			}
			tokens, err := p.Refresh(t.Context(), in.Tokens)
			if err != nil {
				t.Fatalf("refreshing: %v", err)
			}
			if _, err := p.UserInfo(t.Context(), tokens, "alice"); err != nil {
				t.Errorf("userinfo: %v", err)
			}
			if err := p.Revoke(t.Context(), tokens.Refresh); err != nil {
				t.Errorf("revoking: %v", err)
			}
			for _, endpoint := range all {
				last := p.op.Last(endpoint)
				aliased := last.Host != strings.TrimPrefix(p.op.Server.URL, "http://")
				want := false
				for _, e := range tt.aliased {
					want = want || e == endpoint
				}
				if aliased != want {
					t.Errorf("%s was called at %s", endpoint, last.Host)
				}
			}
		})
	}
}

// TestMutualTLSRefused (CB-27) presents another client's certificate, or none. The cases of TestMutualTLS
// are the control.
func TestMutualTLSRefused(t *testing.T) {
	t.Parallel()
	own, others := scriptedop.NewCertificate("client"), scriptedop.NewCertificate("client")
	byCertificate := options{config: func(c *openid.Config) { c.ClientAuth = openid.TLSClientAuth }}
	t.Run("CB-27 another client's certificate", func(t *testing.T) {
		t.Parallel()
		p := withCertificate(t, byCertificate, others, own.Leaf)
		p.wantRefused(p.signIn(), openid.ReasonProviderUnreachable, 0, 0)
	})
	t.Run("CB-27 another client's certificate, at the token endpoint", func(t *testing.T) {
		t.Parallel()
		p := withCertificate(t, options{config: func(c *openid.Config) {
			c.ClientAuth, c.PushedAuthorizationRequests = openid.TLSClientAuth, "never"
		}}, others, own.Leaf)
		p.wantRefused(p.signIn(), openid.ReasonTokenRequestFailed, 1, 0)
	})
	t.Run("CB-27 a secret in place of the certificate", func(t *testing.T) {
		t.Parallel()
		p := withCertificate(t, options{config: func(*openid.Config) {}}, own, own.Leaf)
		p.wantRefused(p.signIn(), openid.ReasonProviderUnreachable, 0, 0)
	})
	t.Run("CB-27 no certificate to bind tokens to", func(t *testing.T) {
		t.Parallel()
		key := scriptedop.NewKey("client-key", "ES256")
		p := withCertificate(t, knownByKey(key, func(*openid.Config) {}), nil, nil)
		p.wantRefused(p.signIn(), openid.ReasonTokenRequestFailed, 1, 0)
	})
	t.Run("CB-27 a certificate that cannot be read", func(t *testing.T) {
		t.Parallel()
		p := withCertificate(t, options{config: func(c *openid.Config) {
			c.ClientCertificate = func() (*tls.Certificate, error) { return nil, errors.New("the file is gone") }
		}}, nil, nil)
		p.wantRefused(p.signIn(), openid.ReasonProviderUnreachable, 0, 0)
	})
	t.Run("CB-27 a token endpoint without TLS", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{config: func(c *openid.Config) {
			c.ClientCertificate = func() (*tls.Certificate, error) { return own, nil }
		}})
		p.wantNoRequest(openid.ReasonProviderMisconfigured)
	})
}

// TestRenewedClientCertificate (CB-27) renews the certificate between two calls. A token of the old one is
// refused, and one that is issued now is bound to the new one, whatever connections are still open.
func TestRenewedClientCertificate(t *testing.T) {
	t.Parallel()
	var presented atomic.Pointer[tls.Certificate]
	presented.Store(scriptedop.NewCertificate("client"))
	key := scriptedop.NewKey("client-key", "ES256")
	p := withCertificate(t, knownByKey(key, func(c *openid.Config) {
		c.ClientCertificate = func() (*tls.Certificate, error) { return presented.Load(), nil }
	}), nil, nil)
	in := p.signIn()
	p.wantSignedIn(in, "alice")
	presented.Store(scriptedop.NewCertificate("client"))
	if _, err := p.UserInfo(t.Context(), in.Tokens, "alice"); !errors.Is(err, openid.ErrUnauthorized) {
		t.Errorf("with the new certificate, a token of the old one is answered with %v", err)
	}
	tokens, err := p.Refresh(t.Context(), in.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UserInfo(t.Context(), tokens, "alice"); err != nil {
		t.Errorf("userinfo with the new token: %v", err)
	}
}

// TestCertificateFaults (CF-01) makes configurations in which the certificate is of no use.
func TestCertificateFaults(t *testing.T) {
	t.Parallel()
	own := func() (*tls.Certificate, error) { return scriptedop.NewCertificate("client"), nil }
	for name, tt := range map[string]struct {
		change func(*openid.Config)
		field  string // "" is accepted
	}{
		"with a certificate":         {func(c *openid.Config) { c.ClientAuth, c.ClientCertificate = openid.TLSClientAuth, own }, ""},
		"without a certificate":      {func(c *openid.Config) { c.ClientAuth = openid.TLSClientAuth }, "ClientCertificate"},
		"over an https back channel": {func(c *openid.Config) { c.ClientCertificate, c.BackchannelOrigin = own, "https://keycloak:8443" }, ""},
		"over a plain back channel":  {func(c *openid.Config) { c.ClientCertificate, c.BackchannelOrigin = own, "http://keycloak:8080" }, "BackchannelOrigin"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := newParty(t, options{}).config
			tt.change(&cfg)
			faults := cfg.Faults()
			if len(faults) > 1 || len(faults) == 1 && faults[0].Field != tt.field || len(faults) == 0 && tt.field != "" {
				t.Errorf("the faults are %v, want one of %q", faults, tt.field)
			}
		})
	}
}
