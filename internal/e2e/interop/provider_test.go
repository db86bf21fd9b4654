package interop

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/routes"
)

// certifiedProviders is a process that starts certified OpenID providers:
// testdata/oidcprovider/provider.mjs.
type certifiedProviders struct {
	mu      sync.Mutex
	in      io.Writer
	out     *bufio.Scanner
	notes   *apptest.Log
	process *os.Process
}

// wantedProvider is the configuration of a provider.
type wantedProvider struct {
	// Client adds to the client's metadata (OpenID Connect Dynamic Client Registration 1.0
	// section 2). The default metadata describe the app with a secret.
	Client map[string]any `json:"client"`
	// RequirePushed makes the provider refuse authorization requests that were not pushed.
	RequirePushed bool `json:"requirePushed"`
	// AccessTokensOnce makes an access token invalid after one use.
	AccessTokensOnce bool `json:"accessTokensOnce"`
	// TLS serves https and asks clients for a certificate. It has the provider's key and cert, and the
	// ca of clients, in PEM.
	TLS map[string]string `json:"tls,omitempty"`
	// APIs makes the provider issue tokens for the APIs that the sign-in has named.
	APIs bool `json:"apis"`
}

const nodeMissing = "there is no Node.js 20, or the certified provider is not installed; run: npm ci --prefix internal/e2e/interop/testdata/oidcprovider"

// startCertifiedProviders starts the process, and stops it when the test ends.
func startCertifiedProviders(t *testing.T) *certifiedProviders {
	t.Helper()
	dir := filepath.Join("testdata", "oidcprovider")
	node := findNode(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "oidc-provider")); node == "" || err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(nodeMissing)
		}
		t.Skip(nodeMissing)
	}
	cmd := exec.Command(node, "provider.mjs")
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &certifiedProviders{in: in, out: bufio.NewScanner(out), notes: apptest.NewLog()}
	cmd.Stderr = p.notes
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.process = cmd.Process
	t.Cleanup(func() {
		// The process exits at the end of its input. Kill it if it hangs.
		killer := time.AfterFunc(apptest.Patience, func() { _ = cmd.Process.Kill() })
		defer killer.Stop()
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the provider's process: %v", err)
		}
		if t.Failed() {
			t.Logf("the provider's process says:\n%s", p.notes)
		}
	})
	return p
}

// findNode returns a recent enough Node.js: the one installed with the provider, or the
// machine's. It returns "" if there is none.
func findNode(t *testing.T, dir string) string {
	t.Helper()
	beside, err := filepath.Glob(filepath.Join(dir, "node_modules", "node-*", "bin", "node"))
	if err != nil {
		t.Fatal(err)
	}
	for _, candidate := range append(beside, "node") {
		if path, err := filepath.Abs(candidate); err == nil && candidate != "node" {
			candidate = path
		}
		version, err := exec.CommandContext(t.Context(), candidate, "--version").Output() // v20.20.2
		major, _, _ := strings.Cut(strings.TrimPrefix(string(version), "v"), ".")
		if n, _ := strconv.Atoi(major); err == nil && n >= 20 {
			return candidate
		}
	}
	return ""
}

// start starts a provider and returns its issuer.
func (p *certifiedProviders) start(t *testing.T, wanted wantedProvider) (issuer string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	// Node.js itself can hang while it starts, and Scan would wait for ever.
	killer := time.AfterFunc(apptest.Patience, func() { _ = p.process.Kill() })
	defer killer.Stop()
	if err := json.NewEncoder(p.in).Encode(wanted); err != nil {
		t.Fatal(err)
	}
	if !p.out.Scan() {
		t.Fatalf("the provider's process has ended, or was killed because it hung:\n%s", p.notes)
	}
	var answer struct{ Issuer string }
	if err := json.Unmarshal(p.out.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Issuer
}

// interop is an app, the certified provider that it is registered with, and a visitor.
type interop struct {
	*apptest.Visitor
	issuer string
}

// startInterop starts an app and its provider. env adds to the app's environment. With
// TLS_CERT_FILE the app serves https.
func (p *certifiedProviders) startInterop(t *testing.T, wanted wantedProvider, env ...string) *interop {
	t.Helper()
	return p.startProduct(t, routes.Product{}, wanted, env...)
}

// startProduct is startInterop for an app with a product.
func (p *certifiedProviders) startProduct(t *testing.T, product routes.Product, wanted wantedProvider, env ...string) *interop {
	t.Helper()
	port, scheme := apptest.FreePort(t), "http"
	certificates := x509.NewCertPool()
	for _, variable := range env {
		if file, ok := strings.CutPrefix(variable, "TLS_CERT_FILE="); ok {
			scheme = "https"
			certificate, err := os.ReadFile(file)
			if err != nil || !certificates.AppendCertsFromPEM(certificate) {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
	if ca := wanted.TLS["ca"]; ca != "" {
		certificates.AppendCertsFromPEM([]byte(ca))
	}
	base := scheme + "://localhost:" + port
	client := map[string]any{
		"client_id": "app", "client_secret": apptest.ClientSecret, "redirect_uris": []string{base + "/callback"},
		"post_logout_redirect_uris": []string{base}, "grant_types": []string{"authorization_code", "refresh_token"},
		"backchannel_logout_uri": base + "/backchannel-logout", "backchannel_logout_session_required": true,
	}
	for name, value := range wanted.Client {
		if client[name] = value; value == nil {
			delete(client, name)
		}
	}
	wanted.Client = client
	i := &interop{issuer: p.start(t, wanted)}
	a := apptest.StartProduct(t, product, append([]string{
		"PORT=" + port, "OIDC_ISSUER=" + i.issuer, "AUTH0_CLIENT_ID=app", "AUTH0_CLIENT_SECRET=" + apptest.ClientSecret,
		"AUTH0_CALLBACK_URL=" + base + "/callback",
	}, env...)...)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: certificates}}
	t.Cleanup(transport.CloseIdleConnections)
	i.Visitor = a.Visitor()
	i.Client.Transport = transport
	return i
}

// otherBrowser returns another browser of the same person.
func (i *interop) otherBrowser() *interop {
	other := &interop{Visitor: i.App.Visitor(), issuer: i.issuer}
	other.Client.Transport = i.Client.Transport
	return other
}

// calls returns the calls that the provider has answered, each with its grant type, if any,
// and its status.
func (i *interop) calls() (list []string) {
	i.T.Helper()
	if err := json.Unmarshal([]byte(i.Get(i.issuer+"/calls").Body), &list); err != nil {
		i.T.Fatal(err)
	}
	return list
}

// wantCalls checks how many times the provider answered a call.
func (i *interop) wantCalls(call string, want int) {
	i.T.Helper()
	list := i.calls()
	got := len(slices.DeleteFunc(slices.Clone(list), func(c string) bool { return c != call }))
	if got != want {
		i.T.Errorf("%q was answered %d times, want %d: %q\n%s", call, got, want, list, i.App.Log)
	}
}

// wantDashboard checks that a sign-in ends on the dashboard, which shows the provider's
// data about the person.
func (i *interop) wantDashboard(page apptest.Answer) {
	i.T.Helper()
	shown := apptest.Text(apptest.Parse(i.T, page.Body))
	if page.StatusCode != http.StatusOK || page.Request.URL.Path != "/dashboard" || !strings.Contains(shown, "Ada of the certified provider") {
		i.T.Fatalf("the sign-in ends at %s with %d:\n%s\n%s", page.Request.URL, page.StatusCode, shown, i.App.Log)
	}
}

// wantRefused checks that the app refuses a sign-in with a page, and logs the reason.
func (i *interop) wantRefused(page apptest.Answer, reason openid.Reason) {
	i.T.Helper()
	if page.StatusCode < 400 || i.SignedIn() || i.App.Log.Count(`"reason":"`+string(reason)+`"`) != 1 {
		i.T.Errorf("the sign-in ends at %s with %d, want a refusal for %s:\n%s", page.Request.URL, page.StatusCode, reason, i.App.Log)
	}
}
