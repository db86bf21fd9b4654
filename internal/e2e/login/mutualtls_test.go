package login

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// withCertificate returns the variables of an app with a client certificate, and its files.
func withCertificate(t *testing.T) (env []string, certFile, keyFile string) {
	t.Helper()
	certFile, keyFile = apptest.WriteCertificate(t)
	return []string{"CLIENT_TLS_CERT_FILE=" + certFile, "CLIENT_TLS_KEY_FILE=" + keyFile, "USERINFO=required"}, certFile, keyFile
}

// TestMutualTLS (CB-27) signs in at the development provider with a client certificate, renews the
// certificate, refreshes and signs out.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	key := "CLIENT_SIGNING_KEY=" + apptest.WritePKCS8(t, apptest.NewKey(t, "P-256"))
	for name, env := range map[string][]string{
		"self_signed_tls_client_auth":        {"PROFILE=fapi2", "CLIENT_AUTH=self_signed_tls_client_auth"},
		"tls_client_auth":                    {"PROFILE=fapi2", "CLIENT_AUTH=tls_client_auth"},
		"private_key_jwt, with bound tokens": {"PROFILE=fapi2", key},
		"message signing":                    {"PROFILE=fapi2-message-signing", "CLIENT_AUTH=self_signed_tls_client_auth", key},
		"DPoP as well":                       {"PROFILE=fapi2", "CLIENT_AUTH=self_signed_tls_client_auth", "DPOP=on"},
		"no profile, with bound tokens":      nil,
		"tokens for an API":                  {"AUTH0_AUDIENCE=https://api.example.com"},
	} {
		t.Run("CB-27 "+name, func(t *testing.T) {
			t.Parallel()
			certificate, certFile, keyFile := withCertificate(t)
			a := apptest.Start(t, append(certificate, env...)...)
			v := a.Visitor()
			if got := v.SignIn("/profile", apptest.Ada); got.StatusCode != http.StatusOK || got.Request.URL.Path != "/profile" {
				t.Fatalf("the sign-in ends at %s with %d\n%s", got.Request.URL.Path, got.StatusCode, a.Log)
			}
			const presented, refreshed = `"msg":"client certificate"`, `"msg":"tokens refreshed"`
			newCert, newKey := apptest.WriteCertificate(t)
			if os.Rename(newCert, certFile) != nil || os.Rename(newKey, keyFile) != nil {
				t.Fatal("the certificate cannot be renewed")
			}
			apptest.Eventually(t, "the new certificate is presented", func() bool {
				// A call that has the old certificate when the provider learns of the new one is refused.
				other := a.Visitor()
				if page := other.Get("/login"); strings.HasPrefix(page.Request.URL.String(), a.Issuer) {
					other.Press(page, "person-dev|bare")
				}
				return a.Log.Count(presented) == 2
			})
			if got := v.RefreshProfile(); got.StatusCode != http.StatusOK || a.Log.Count(refreshed) != 1 {
				t.Errorf("the refresh ends with %d, after %d refreshes of the tokens, want 1\n%s", got.StatusCode, a.Log.Count(refreshed), a.Log)
			}
			v.Press(v.Get("/logout"), "qsLogoutBtn")
			apptest.Eventually(t, "the refresh token is revoked", func() bool {
				return a.Log.Count(`"endpoint":"revocation","outcome":"answered"`) == 1
			})
		})
	}
}

// TestMutualTLSOfAnother (CB-27) calls the development provider with another certificate than the
// client's, and without one.
func TestMutualTLSOfAnother(t *testing.T) {
	t.Parallel()
	certificate, certFile, keyFile := withCertificate(t)
	a := apptest.Start(t, append(certificate, "PROFILE=fapi2", "CLIENT_AUTH=self_signed_tls_client_auth")...)
	var metadata struct {
		Revocation string `json:"revocation_endpoint"`
		Aliases    struct {
			Revocation string `json:"revocation_endpoint"`
		} `json:"mtls_endpoint_aliases"`
	}
	if err := json.Unmarshal([]byte(a.Visitor().Get(a.Issuer+"/.well-known/openid-configuration").Body), &metadata); err != nil {
		t.Fatal(err)
	}
	own, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		address     string
		certificate *tls.Certificate
		status      int
	}{
		"the client's own": {metadata.Aliases.Revocation, &own, http.StatusOK},
		"another":          {metadata.Aliases.Revocation, apptest.ClientCertificate(t), http.StatusUnauthorized},
		"none":             {metadata.Aliases.Revocation, nil, http.StatusUnauthorized},
		"without TLS":      {metadata.Revocation, &own, http.StatusUnauthorized},
	} {
		t.Run("CB-27 "+name, func(t *testing.T) {
			t.Parallel()
			settings := &tls.Config{InsecureSkipVerify: true}
			if tt.certificate != nil {
				settings.Certificates = []tls.Certificate{*tt.certificate}
			}
			transport := &http.Transport{TLSClientConfig: settings}
			t.Cleanup(transport.CloseIdleConnections)
			form := url.Values{"client_id": {"latchkey-development"}, "token": {"unknown"}}
			resp, err := (&http.Client{Transport: transport}).PostForm(tt.address, form)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.status || tt.status != http.StatusOK && !strings.Contains(string(body), `"invalid_client"`) {
				t.Errorf("got %d %s, %v, want %d", resp.StatusCode, body, err, tt.status)
			}
		})
	}
}

// TestNoMutualTLS checks that without a certificate nothing more is served or announced.
func TestNoMutualTLS(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	if got := a.Visitor().Get(a.Issuer + "/.well-known/openid-configuration").Body; strings.Contains(got, "https://127.0.0.1") || strings.Contains(got, "tls_client_auth") ||
		!strings.Contains(got, `"tls_client_certificate_bound_access_tokens":false`) {
		t.Errorf("the metadata are %s", got)
	}
}
