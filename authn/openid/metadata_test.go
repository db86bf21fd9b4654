package openid_test

import (
	"slices"
	"strings"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

func TestIssuerOfMetadata(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		path   string
		issuer func(string) any
		hint   bool
	}{
		"CF-04 with a slash too many": {path: "", issuer: func(s string) any { return s + "/" }, hint: true},
		"CF-04 without its slash":     {path: "/", issuer: func(s string) any { return strings.TrimSuffix(s, "/") }, hint: true},
		"CF-04 of another tenant":     {path: "/tenant/", issuer: func(s string) any { return strings.Replace(s, "tenant", "other", 1) }},
		"CF-04 in another case":       {path: "/tenant", issuer: func(s string) any { return strings.Replace(s, "tenant", "Tenant", 1) }},
		"CF-04 another":               {path: "/", issuer: func(string) any { return "https://evil.example/" }},
		"CF-04 empty":                 {path: "/", issuer: func(string) any { return "" }},
		"CF-04 missing":               {path: "/", issuer: func(string) any { return nil }},
		"CF-04 a list":                {path: "/", issuer: func(s string) any { return []string{s} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{op: scriptedop.Config{Path: tt.path}})
			given := tt.issuer(p.op.Issuer)
			p.op.Edit(scriptedop.Discovery, func(m map[string]any) { m["issuer"] = given })
			got := p.wantNoRequest(openid.ReasonProviderMisconfigured)
			if text, ok := given.(string); ok && (!strings.Contains(got, `"`+text+`"`) || !strings.Contains(got, `"`+p.op.Issuer+`"`)) {
				t.Errorf("FM-02: the error does not name both issuers: %s", got)
			}
			if strings.Contains(got, "slash") != tt.hint {
				t.Errorf("the error mentions a slash: %t, want %t", !tt.hint, tt.hint)
			}
		})
	}
	for _, path := range []string{"", "/", "/tenant", "/tenant/"} {
		t.Run("CF-04 the issuer with the path "+path, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{op: scriptedop.Config{Path: path}})
			p.wantSignedIn(p.signIn(), "alice")
			p.wantCalls(1, 1)
			if err := p.Ready(); err != nil {
				t.Errorf("readiness is %v", err)
			}
		})
	}
}

// TestMetadataMembers changes one member of the document. What only informs refuses nothing; what a
// sign-in depends on does.
func TestMetadataMembers(t *testing.T) {
	t.Parallel()
	odd := map[string]any{"null": null{}, "a text": "S256", "a number": 5, "an object": map[string]any{}, "a list of numbers": []int{1}}
	for _, member := range []string{
		"code_challenge_methods_supported", "token_endpoint_auth_methods_supported", "prompt_values_supported", "scopes_supported",
		"backchannel_logout_supported", "backchannel_logout_session_supported", "id_token_signing_alg_values_supported",
		"claims_supported", "response_types_supported",
	} {
		for name, value := range odd {
			t.Run("CF-05 "+member+" is "+name, func(t *testing.T) {
				t.Parallel()
				p := newParty(t, options{})
				p.op.Edit(scriptedop.Discovery, func(m map[string]any) { m[member] = value })
				p.wantSignedIn(p.signIn(), "alice")
			})
		}
	}
	for name, tt := range map[string]struct {
		member   string
		value    any
		accepted bool
	}{
		"CF-05 no end session":            {"end_session_endpoint", null{}, true},
		"CF-05 an empty userinfo":         {"userinfo_endpoint", "", true},
		"CF-05 no token endpoint":         {"token_endpoint", null{}, false},
		"CF-05 an empty JWKS":             {"jwks_uri", "", false},
		"CF-05 JWKS in capitals":          {"JWKS_URI", "https://evil.example/jwks", true},
		"CF-05 an issuer in capitals":     {"ISSUER", "https://evil.example", true},
		"CF-05 pushing as a text":         {"require_pushed_authorization_requests", "true", true},
		"CF-05 pushing null":              {"require_pushed_authorization_requests", null{}, true},
		"CF-05 pushing a number":          {"require_pushed_authorization_requests", 1, false},
		"CB-07 iss as a text":             {"authorization_response_iss_parameter_supported", "true", true},
		"CB-07 iss null":                  {"authorization_response_iss_parameter_supported", null{}, true},
		"CB-07 iss a number":              {"authorization_response_iss_parameter_supported", 1, false},
		"CB-07 iss a list":                {"authorization_response_iss_parameter_supported", []bool{true}, false},
		"ID-02 algorithms not ours":       {"id_token_signing_alg_values_supported", []string{"ES384"}, false},
		"ID-02 algorithms, an empty list": {"id_token_signing_alg_values_supported", []string{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{})
			p.op.Edit(scriptedop.Discovery, func(m map[string]any) { m[tt.member] = tt.value })
			if tt.accepted {
				p.wantSignedIn(p.signIn(), "alice")
				return
			}
			p.wantNoRequest(openid.ReasonProviderMisconfigured)
		})
	}
	t.Run("CB-07 iss announced as a text is required", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{})
		p.op.Edit(scriptedop.Discovery, func(m map[string]any) { m["authorization_response_iss_parameter_supported"] = "true" })
		p.op.Edit(scriptedop.Authorize, func(response map[string]any) { delete(response, "iss") })
		p.wantRefused(p.signIn(), openid.ReasonIssuerMismatch, 0, 0)
	})
}

func TestMetadataEndpoints(t *testing.T) {
	t.Parallel()
	required := []string{"authorization_endpoint", "token_endpoint", "jwks_uri"}
	optional := []string{"userinfo_endpoint", "end_session_endpoint", "revocation_endpoint", "pushed_authorization_request_endpoint"}
	bad := map[string]any{
		"script": "javascript:alert(1)", "plain http": "http://op.example/x", "cloud metadata": "http://169.254.169.254/latest",
		"a file": "file:///etc/passwd", "credentials": "https://a:b@op.example/x", "a fragment": "https://op.example/x#y",
		"relative": "/x", "no scheme": "//op.example/x", "no host": "https:///x", "a number": 5, "a list": []string{"https://op.example/x"},
	}
	for _, endpoint := range slices.Concat(required, optional) {
		for name, value := range bad {
			t.Run("CF-05 "+endpoint+" is "+name, func(t *testing.T) {
				t.Parallel()
				p := newParty(t, options{})
				p.op.Edit(scriptedop.Discovery, func(m map[string]any) { m[endpoint] = value })
				p.wantNoRequest(openid.ReasonProviderMisconfigured)
			})
		}
		t.Run("CF-05 "+endpoint+" is missing", func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{})
			p.op.Edit(scriptedop.Discovery, func(m map[string]any) { delete(m, endpoint) })
			if slices.Contains(required, endpoint) {
				got := p.wantNoRequest(openid.ReasonProviderMisconfigured)
				if !strings.Contains(got, endpoint) {
					t.Errorf("the error does not name the endpoint: %s", got)
				}
				return
			}
			p.wantSignedIn(p.signIn(), "alice")
		})
	}
	t.Run("CF-05 pushing is required and has no endpoint", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{})
		p.op.Edit(scriptedop.Discovery, func(m map[string]any) {
			m["require_pushed_authorization_requests"] = true
			delete(m, "pushed_authorization_request_endpoint")
		})
		p.wantNoRequest(openid.ReasonProviderMisconfigured)
	})
	t.Run("CF-05 every fault is named", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{})
		p.op.Edit(scriptedop.Discovery, func(m map[string]any) {
			delete(m, "token_endpoint")
			m["jwks_uri"] = "ftp://op.example"
		})
		got := p.wantNoRequest(openid.ReasonProviderMisconfigured)
		if !strings.Contains(got, "token_endpoint") || !strings.Contains(got, "jwks_uri") {
			t.Errorf("the error is %s", got)
		}
	})
}
