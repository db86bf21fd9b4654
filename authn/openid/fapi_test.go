package openid_test

import (
	"crypto"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// followsProfile makes a configuration follow Message Signing, the stricter profile.
func followsProfile(c *openid.Config) {
	key, certificate := scriptedop.NewKey("client-key", "ES256"), scriptedop.NewCertificate("client")
	c.Profile, c.ClientAuth, c.PushedAuthorizationRequests = openid.ProfileFAPI2MessageSigning, openid.PrivateKeyJWT, "always"
	c.SigningKey, c.SigningKeyID, c.SigningAlgorithm = key.Private.(crypto.Signer), key.ID, ""
	c.ClientCertificate = func() (*tls.Certificate, error) { return certificate, nil }
	c.IDTokenAlgorithms, c.RequestObject, c.ResponseMode = []string{"PS256", "ES256", "EdDSA"}, true, "jwt"
}

// TestProfileFaults (CF-16) makes configurations fall short of a profile, in one setting and in all.
func TestProfileFaults(t *testing.T) {
	t.Parallel()
	rsaKey := scriptedop.NewKey("", "RS256").Private.(crypto.Signer)
	base := newParty(t, options{}).config
	for name, tt := range map[string]struct {
		change func(*openid.Config)
		fields []string
	}{
		"CF-16 nothing":                      {func(*openid.Config) {}, nil},
		"CF-16 an unknown profile":           {func(c *openid.Config) { c.Profile = "fapi1" }, []string{"Profile"}},
		"CF-16 a request that is not pushed": {func(c *openid.Config) { c.PushedAuthorizationRequests = "auto" }, []string{"PushedAuthorizationRequests"}},
		"CF-16 a client secret":              {func(c *openid.Config) { c.ClientAuth = openid.ClientSecretBasic }, []string{"ClientAuth"}},
		"CF-16 tls_client_auth":              {func(c *openid.Config) { c.ClientAuth = openid.TLSClientAuth }, nil},
		"CF-16 bearer tokens":                {func(c *openid.Config) { c.ClientCertificate = nil }, []string{"DPoP"}},
		"CF-16 DPoP":                         {func(c *openid.Config) { c.ClientCertificate, c.DPoP = nil, true }, nil},
		"CF-16 RS256 for ID tokens":          {func(c *openid.Config) { c.IDTokenAlgorithms = []string{"PS256", "RS256"} }, []string{"IDTokenAlgorithms"}},
		"CF-16 RS256 for responses":          {func(c *openid.Config) { c.ResponseAlgorithms = []string{"RS256"} }, []string{"ResponseAlgorithms"}},
		"CF-16 RS256 by the client":          {func(c *openid.Config) { c.SigningKey = rsaKey }, []string{"SigningAlgorithm"}},
		"CF-16 PS256 by the client":          {func(c *openid.Config) { c.SigningKey, c.SigningAlgorithm = rsaKey, "PS256" }, nil},
		"CF-16 EdDSA by the client": {func(c *openid.Config) {
			c.SigningKey = scriptedop.NewKey("", "EdDSA").Private.(crypto.Signer)
		}, nil},
		"CF-16 ES384 by the client": {func(c *openid.Config) {
			c.SigningKey = scriptedop.NewKey("", "ES384").Private.(crypto.Signer)
		}, []string{"SigningAlgorithm"}},
		"CF-16 requests that are not signed":  {func(c *openid.Config) { c.RequestObject = false }, []string{"RequestObject"}},
		"CF-16 responses that are not signed": {func(c *openid.Config) { c.ResponseMode = "query" }, []string{"ResponseMode"}},
		"CF-16 neither, in the security profile": {func(c *openid.Config) {
			c.Profile, c.RequestObject, c.ResponseMode = openid.ProfileFAPI2, false, "query"
		}, nil},
		"CF-16 all at once": {func(c *openid.Config) {
			c.PushedAuthorizationRequests, c.ClientAuth, c.ClientCertificate, c.IDTokenAlgorithms = "never", openid.ClientSecretPost, nil, []string{"RS256"}
			c.RequestObject, c.ResponseMode = false, "query"
		}, []string{"PushedAuthorizationRequests", "ClientAuth", "DPoP", "IDTokenAlgorithms", "RequestObject", "ResponseMode"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := base
			followsProfile(&cfg)
			tt.change(&cfg)
			var fields []string
			for _, fault := range cfg.Faults() {
				fields = append(fields, fault.Field)
				if fault.Remedy == "" {
					t.Errorf("%v has no remedy", fault)
				}
			}
			if !slices.Equal(fields, tt.fields) {
				t.Errorf("the faults are %v, want those of %v", cfg.Faults(), tt.fields)
			}
		})
	}
}

// TestProfileSignIn (CF-16) signs in with everything that Message Signing demands.
func TestProfileSignIn(t *testing.T) {
	t.Parallel()
	key := scriptedop.NewKey("client-key", "ES256")
	p := newParty(t, options{op: scriptedop.Config{ClientKey: key, RequestKey: key}, config: func(c *openid.Config) {
		followsProfile(c)
		c.SigningKey, c.RootCAs = key.Private.(crypto.Signer), scriptedop.Roots()
	}})
	p.op.StartMTLS(t, nil)
	p.wantSignedIn(p.signIn(), "alice")
	m, err := p.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if gaps := p.ProfileGaps(m); len(gaps) > 0 {
		t.Errorf("the provider lacks %q", gaps)
	}
}

// TestProfileRequiresTheIssuer (CF-16, CB-07) leaves iss out of the response of a provider that does not
// announce it.
func TestProfileRequiresTheIssuer(t *testing.T) {
	t.Parallel()
	for name, profile := range map[string]string{"CF-16 with a profile": openid.ProfileFAPI2, "CF-16 without": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := scriptedop.NewKey("client-key", "ES256")
			p := newParty(t, options{op: scriptedop.Config{ClientKey: key}, config: func(c *openid.Config) {
				followsProfile(c)
				c.Profile, c.RequestObject, c.ResponseMode = profile, false, "query"
				c.SigningKey, c.RootCAs = key.Private.(crypto.Signer), scriptedop.Roots()
			}})
			p.op.StartMTLS(t, nil)
			p.op.Edit(scriptedop.Discovery, func(m map[string]any) { delete(m, "authorization_response_iss_parameter_supported") })
			p.op.Edit(scriptedop.Authorize, func(response map[string]any) { delete(response, "iss") })
			if got := p.signIn(); profile == "" {
				p.wantSignedIn(got, "alice")
			} else {
				p.wantRefused(got, openid.ReasonIssuerMismatch, 0, 0)
			}
		})
	}
}

// TestProfileGaps compares providers with the profile, each with a gap.
func TestProfileGaps(t *testing.T) {
	t.Parallel()
	p := newParty(t, options{config: followsProfile})
	full := map[string]any{
		"pushed_authorization_request_endpoint": p.op.URL(scriptedop.PAR), "token_endpoint_auth_methods_supported": []string{"private_key_jwt"},
		"code_challenge_methods_supported": []string{"S256"}, "tls_client_certificate_bound_access_tokens": true,
		"request_object_signing_alg_values_supported": []string{"ES256"}, "response_modes_supported": []string{"jwt"},
		"authorization_signing_alg_values_supported": []string{"PS256"}, "id_token_signing_alg_values_supported": []string{"ES256"},
	}
	for name, tt := range map[string]struct {
		member string
		value  any
		gap    string // "" for none
	}{
		"nothing":                        {"issuer", "x", ""},
		"no pushed requests":             {"pushed_authorization_request_endpoint", "", "pushed"},
		"client secrets alone":           {"token_endpoint_auth_methods_supported", []string{"client_secret_basic"}, "private_key_jwt"},
		"RS256 alone":                    {"id_token_signing_alg_values_supported", []string{"RS256"}, "ID tokens"},
		"bearer tokens":                  {"tls_client_certificate_bound_access_tokens", false, "bound"},
		"request objects in RS256":       {"request_object_signing_alg_values_supported", []string{"RS256"}, "ES256"},
		"plain responses":                {"response_modes_supported", []string{"query"}, "jwt"},
		"responses in RS256":             {"authorization_signing_alg_values_supported", []string{"RS256"}, "responses"},
		"plain challenges":               {"code_challenge_methods_supported", []string{"plain"}, "PKCE"},
		"nothing said of response modes": {"response_modes_supported", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			document := make(map[string]any)
			maps.Copy(document, full)
			document[tt.member] = tt.value
			gaps := p.ProfileGaps(parseMetadata(t, document))
			if tt.gap == "" && len(gaps) > 0 || tt.gap != "" && (len(gaps) != 1 || !strings.Contains(gaps[0], tt.gap)) {
				t.Errorf("the gaps are %q, want one of %q", gaps, tt.gap)
			}
		})
	}
}

func parseMetadata(t *testing.T, document map[string]any) *openid.Metadata {
	t.Helper()
	m := new(openid.Metadata)
	encoded, err := json.Marshal(document)
	if err == nil {
		err = json.Unmarshal(encoded, m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestProfileCipherSuites (CF-16) meets a provider with a cipher suite for TLS 1.2 that is not recommended.
func TestProfileCipherSuites(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		profile string
		suite   uint16
		want    openid.Reason // "" for an answer
	}{
		"CF-16 a recommended one, with a profile": {openid.ProfileFAPI2, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, ""},
		"CF-16 another one, with a profile":       {openid.ProfileFAPI2, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, openid.ReasonProviderUnreachable},
		"CF-16 another one, without a profile":    {"", tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte("{}"))
			}))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.TLS = &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tt.suite}}
			server.StartTLS()
			t.Cleanup(server.Close)
			cfg := newParty(t, options{}).config
			followsProfile(&cfg)
			cfg.Issuer, cfg.Profile, cfg.RootCAs = server.URL, tt.profile, scriptedop.Roots()
			p, err := openid.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.FetchMetadata(t.Context()); openid.ReasonOf(err) != tt.want {
				t.Errorf("the provider's metadata: %v, want %q", err, tt.want)
			}
		})
	}
}
