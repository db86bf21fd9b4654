package openid_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// newPartyBehind returns a party whose provider has an issuer that nobody here can reach. The party
// reaches it at its back channel.
func newPartyBehind(t *testing.T, change func(*scriptedop.Provider, *openid.Config)) *party {
	t.Helper()
	p := newParty(t, options{op: scriptedop.Config{Origin: "https://id.example.test", Path: "/realms/acme"}})
	p.config.BackchannelOrigin = p.op.Server.URL
	change(p.op, &p.config)
	var err error
	if p.Provider, err = openid.New(p.config); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestBackchannelOrigin (CF-03) discovers a provider by its back channel. The provider sees itself
// under its own name, browsers go there, and only calls of this app go elsewhere.
func TestBackchannelOrigin(t *testing.T) {
	t.Parallel()
	p := newPartyBehind(t, func(*scriptedop.Provider, *openid.Config) {})
	a := p.begin(openid.AuthorizationRequest{})
	if !strings.HasPrefix(a.request, "https://id.example.test/realms/acme/authorize?") {
		t.Errorf("browsers are sent to %s", a.request)
	}
	if address, _ := p.EndSessionURL(openid.EndSessionRequest{}); !strings.HasPrefix(address, "https://id.example.test/realms/acme/end_session?") {
		t.Errorf("to sign out, browsers are sent to %s", address)
	}
	if got := strings.Join(p.Origins(), " "); got != "https://id.example.test" {
		t.Errorf("browsers may be sent to %s", got)
	}
	if host := p.op.Last(scriptedop.Discovery).Host; host != "id.example.test" {
		t.Errorf("the provider is asked as %s", host)
	}
	if err := p.Revoke(t.Context(), "a refresh token"); err != nil || p.op.Last(scriptedop.Revoke).Host != "id.example.test" {
		t.Errorf("revocation: %v, as %s", err, p.op.Last(scriptedop.Revoke).Host)
	}
	resp, err := p.Get(t.Context(), "https://ID.example.test:443/realms/acme/jwks")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusOK {
		t.Errorf("another spelling of the origin is answered %d", resp.StatusCode)
	}
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Host-Seen", r.Host) }))
	t.Cleanup(stranger.Close)
	resp, err = p.Get(t.Context(), stranger.URL)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); "http://"+resp.Header.Get("Host-Seen") != stranger.URL {
		t.Errorf("a call to another origin arrives as %q", resp.Header.Get("Host-Seen"))
	}
}

// TestEndpointsAtTheBackchannel (CF-05) has metadata name endpoints at the back channel, as Keycloak
// can. That is for those that this app calls itself.
func TestEndpointsAtTheBackchannel(t *testing.T) {
	t.Parallel()
	for endpoint, accepted := range map[string]bool{
		"token_endpoint": true, "jwks_uri": true, "userinfo_endpoint": true, "revocation_endpoint": true, "pushed_authorization_request_endpoint": true,
		"authorization_endpoint": false, "end_session_endpoint": false,
	} {
		t.Run("CF-05 "+endpoint, func(t *testing.T) {
			t.Parallel()
			move := func(to func(*scriptedop.Provider) string) *party {
				return newPartyBehind(t, func(op *scriptedop.Provider, _ *openid.Config) {
					op.Edit(scriptedop.Discovery, func(m map[string]any) { m[endpoint] = to(op) + "/realms/acme/x" })
				})
			}
			if p := move(func(op *scriptedop.Provider) string { return op.Server.URL }); accepted {
				p.begin(openid.AuthorizationRequest{})
			} else {
				p.wantNoRequest(openid.ReasonProviderMisconfigured)
			}
			move(func(*scriptedop.Provider) string { return "http://127.0.0.1:1" }).wantNoRequest(openid.ReasonProviderMisconfigured)
			move(func(op *scriptedop.Provider) string { return op.Server.URL + ".evil.example" }).wantNoRequest(openid.ReasonProviderMisconfigured)
		})
	}
	t.Run("CF-04 the issuer stays", func(t *testing.T) {
		t.Parallel()
		newPartyBehind(t, func(op *scriptedop.Provider, _ *openid.Config) {
			op.Edit(scriptedop.Discovery, func(m map[string]any) { m["issuer"] = op.Server.URL + "/realms/acme" })
		}).wantNoRequest(openid.ReasonProviderMisconfigured)
	})
}

// TestBackchannelOriginFaults (CF-03) accepts plain http only where nobody else can be on the way.
func TestBackchannelOriginFaults(t *testing.T) {
	t.Parallel()
	for origin, accepted := range map[string]bool{
		"": true, "https://id.internal.example.com": true, "https://10.0.0.5:8443": true,
		"http://keycloak:8080": true, "http://keycloak.auth.svc": true, "http://keycloak.auth.svc.cluster.local:8080": true, "http://HOST.docker.INTERNAL:8080": true,
		"http://127.0.0.1:8080": true, "http://[::1]:8080": true, "http://localhost:8080": true, "http://10.0.0.5": true, "http://172.17.0.1:8080": true,
		"http://192.168.1.5": true, "http://[fd00::5]:8080": true, "http://[::ffff:10.0.0.5]": true,

		"http://id.example.com": false, "http://keycloak.svc.example.com": false, "http://8.8.8.8": false, "http://[2001:db8::1]": false, "http://[::ffff:8.8.8.8]": false,
		"http://svc.evil.example": false, "http://127.0.0.1.evil.example": false,
		"keycloak:8080": false, "http://": false, "http://:8080": false, "ftp://keycloak": false, "http://keycloak:8080/": false, "http://keycloak:8080/realms/acme": false,
		"http://user:password@keycloak:8080": false, "http://keycloak:8080?x": false, "http://keycloak:8080#x": false, "http://key cloak": false, "//keycloak": false,
	} {
		cfg := openid.Config{BackchannelOrigin: origin, Issuer: "https://id.example.com"}
		found := ""
		for _, fault := range cfg.Faults() {
			if fault.Field == "BackchannelOrigin" {
				found = fault.Problem
			}
		}
		if (found == "") != accepted {
			t.Errorf("%q: accepted %t, want %t: %s", origin, found == "", accepted, found)
		}
		if strings.Contains(found, "password") {
			t.Errorf("%q: the fault quotes the password: %s", origin, found)
		}
	}
}
