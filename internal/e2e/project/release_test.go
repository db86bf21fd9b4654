package project

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

func TestMain(m *testing.M) { apptest.Main(m) }

// TestRelease tests the program as published, built with the command in the Containerfile
// (DV-08).
func TestRelease(t *testing.T) {
	t.Parallel()
	release := apptest.BuildRelease(t, apptest.Root(t))
	t.Run("DV-01 it contains no part of the development provider", func(t *testing.T) { testReleaseHoldsNoProvider(t, release) })
	t.Run("DV-01, DV-04 nothing makes it sign in sample people", func(t *testing.T) { testReleaseRefuses(t, release) })
	t.Run("CF-03 people's browsers reach its provider", func(t *testing.T) { testReleaseIssuer(t, release) })
	t.Run("DV-02 no path of a provider exists", func(t *testing.T) { testReleasePaths(t, release) })
	t.Run("DV-05 a session of the development build opens nothing", func(t *testing.T) { testDevelopmentSession(t, release) })
	t.Run("CF-13 it runs as in its image", func(t *testing.T) { testReleaseInItsImage(t, release) })
	t.Run("SL-09 a build in another directory is identical", func(t *testing.T) { testReproducible(t, release) })
	t.Run("SL-09 its modules are pinned", func(t *testing.T) { testPinned(t, release) })
	t.Run("SL-09 a scanner can tell what it calls", func(t *testing.T) { testSymbols(t, release) })
}

// testReleaseHoldsNoProvider searches the program for the development provider: for the
// names of its functions, which tracebacks need, and for texts on its pages. This test
// binary is a development build, so it must contain them.
func testReleaseHoldsNoProvider(t *testing.T, release string) {
	info, err := buildinfo.ReadFile(release)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"-tags": "release", "-trimpath": "true", "CGO_ENABLED": "0"} {
		if !slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == key && s.Value == want }) {
			t.Errorf("the release was not built with %s=%s: %v", key, want, info.Settings)
		}
	}
	published, development := apptest.ReadFile(t, release), apptest.ReadFile(t, os.Args[0])
	for _, trace := range []string{"authn/devop", "X-Dev-IdP", "latchkey-development", "latchkey-terminal", "Rosa Ruiz"} {
		if bytes.Contains(published, []byte(trace)) {
			t.Errorf("the release contains %q", trace)
		}
		if !bytes.Contains(development, []byte(trace)) {
			t.Errorf("a development build does not contain %q either, so this check proves nothing", trace)
		}
	}
	if bytes.Contains(published, []byte(apptest.Root(t))) {
		t.Error("the release contains the path of its build directory")
	}
}

// testReleaseRefuses tries every way to get the development provider.
func testReleaseRefuses(t *testing.T, release string) {
	provider := []string{"OIDC_ISSUER=https://id.example.com", "AUTH0_CLIENT_ID=c", "AUTH0_CLIENT_SECRET=s"}
	for name, tt := range map[string]struct {
		args, env []string
		want      string
	}{
		"no configuration":                  {want: "AUTH0_DOMAIN: is missing"},
		"its address":                       {env: []string{"DEV_PROVIDER_ADDR=127.0.0.1:0"}, want: "DEV_PROVIDER_ADDR: is set"},
		"its address and a provider":        {env: append(provider, "DEV_PROVIDER_ADDR=127.0.0.1:0"), want: "DEV_PROVIDER_ADDR: is set"},
		"a loopback base URL":               {env: []string{"AUTH0_CALLBACK_URL=http://localhost:3000/callback"}, want: "AUTH0_DOMAIN: is missing"},
		"a command":                         {args: []string{"dev"}, want: "no command"},
		"a flag":                            {args: []string{"--dev"}, want: "no command"},
		"variables that other programs use": {env: []string{"DEV=1", "APP_ENV=development", "DEBUG=1", "DEV_LOGIN=1"}, want: "AUTH0_DOMAIN: is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := exec.CommandContext(t.Context(), release, tt.args...)
			command.Env = append([]string{"PORT=0"}, tt.env...)
			command.Dir = t.TempDir()
			output, _ := command.CombinedOutput()
			if command.ProcessState.ExitCode() != 2 || !strings.Contains(string(output), tt.want) {
				t.Errorf("the release exits with %d, want 2 and %q:\n%s", command.ProcessState.ExitCode(), tt.want, output)
			}
			if entries, err := os.ReadDir(command.Dir); err != nil || len(entries) > 0 {
				t.Errorf("the release leaves %v behind (%v)", entries, err)
			}
		})
	}
}

// testReleaseIssuer gives the release issuers on this machine and elsewhere.
func testReleaseIssuer(t *testing.T, release string) {
	const public, local = "https://app.example.com/callback", "http://localhost:3000/callback"
	for name, tt := range map[string]struct {
		callback, issuer, backchannel string
		refused                       bool
	}{
		"localhost, for the public":          {public, "http://localhost:8080/realms/acme", "", true},
		"127.0.0.1, for the public":          {public, "http://127.0.0.1:8080", "", true},
		"::1, for the public":                {public, "http://[::1]:8080", "", true},
		"localhost, spelt otherwise":         {public, "HTTP://localhost:8080", "", true},
		"localhost, also as back channel":    {public, "http://localhost:8080", "http://localhost:8080", true},
		"https, for the public":              {public, "https://id.example.com", "", false},
		"https, with localhost behind it":    {public, "https://id.example.com", "http://localhost:8080", false},
		"localhost, for this machine":        {local, "http://localhost:8080/realms/acme", "", false},
		"localhost, for this machine's name": {"https://localhost:3000/callback", "http://localhost:8080", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := exec.CommandContext(t.Context(), release, "check-config")
			command.Env = []string{
				"AUTH0_CALLBACK_URL=" + tt.callback, "OIDC_ISSUER=" + tt.issuer, "OIDC_BACKCHANNEL_ORIGIN=" + tt.backchannel,
				"AUTH0_CLIENT_ID=c", "AUTH0_CLIENT_SECRET=s", "APP_SECRET_KEY=0123456789abcdef0123456789abcdef",
			}
			command.Dir = t.TempDir()
			output, err := command.CombinedOutput()
			if named := strings.Contains(string(output), "OIDC_ISSUER: is"); (err != nil) != tt.refused || named != tt.refused {
				t.Errorf("the release ends with %v:\n%s", err, output)
			}
		})
	}
}

// testReleasePaths requests a provider's paths from the app.
func testReleasePaths(t *testing.T, release string) {
	op := apptest.NewOP(t)
	p := apptest.StartCommand(t, exec.Command(release), t.TempDir(), apptest.Env(op)...)
	v := p.Visitor()
	for _, path := range []string{
		"/dev", "/dev/gallery", "/dev/reload", "/dev-login", "/.well-known/openid-configuration", "/authorize", "/token", "/jwks", "/sign-in", "/sign-out", "/par",
		"/userinfo", "/revoke", "/end_session", "/end_session/confirm", "/v2/logout", "/picture/dev%7Cada", "/oauth/token", "/debug/pprof/",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			want := http.StatusNotFound
			if method == http.MethodOptions {
				want = http.StatusMethodNotAllowed // as for every path
			}
			if got := v.Direct(v.Request(method, path, nil, "Sec-Fetch-Site", "same-origin")); got.StatusCode != want {
				t.Errorf("%s %s answers %d, want %d", method, path, got.StatusCode, want)
			}
		}
	}
	if home := v.Get("/"); home.StatusCode != http.StatusOK || home.Header.Get("X-Dev-IdP") != "" || strings.Contains(home.Body, "Development provider") {
		t.Errorf("the home page answers %d, or is from a development build", home.StatusCode)
	}
}

// testDevelopmentSession moves the store, the key and the cookie of a development build to
// a release, and back.
func testDevelopmentSession(t *testing.T, release string) {
	const key = "APP_SECRET_KEY=0123456789abcdef0123456789abcdef"
	dataDir, providerAt := t.TempDir(), "DEV_PROVIDER_ADDR=127.0.0.1:"+apptest.FreePort(t)
	development := apptest.StartProcess(t, dataDir, key, providerAt)
	v := development.Visitor()
	v.SignIn("/login", apptest.Ada)
	development.Kill()

	dashboard := func(p *apptest.Process) int {
		cookie, someone := v.At(p.App).CookieHeader(), p.Visitor()
		return someone.Direct(someone.Request(http.MethodGet, "/dashboard", nil, "Cookie", cookie)).StatusCode
	}
	published := apptest.StartCommand(t, exec.Command(release), dataDir, append(apptest.Env(apptest.NewOP(t)), key)...)
	if got := dashboard(published); got != http.StatusSeeOther {
		t.Errorf("the release answers %d, want 303 to its own sign-in", got)
	}
	published.Kill()
	if got := dashboard(apptest.StartProcess(t, dataDir, key, providerAt)); got != http.StatusOK {
		t.Errorf("the development build answers %d, want the dashboard: the session was not valid", got)
	}
}

func testReproducible(t *testing.T, release string) {
	if again := apptest.BuildRelease(t, copyOfCheckout(t)); !bytes.Equal(apptest.ReadFile(t, again), apptest.ReadFile(t, release)) {
		t.Error("two builds of the same source differ: .ci/release would refuse it")
	}
}

// testPinned checks that the program's modules have sums, and that neither go.mod file
// replaces a module.
func testPinned(t *testing.T, release string) {
	info, err := buildinfo.ReadFile(release)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) < 20 {
		t.Errorf("the program lists only %d modules", len(info.Deps))
	}
	for _, module := range info.Deps {
		if module.Replace != nil || !strings.HasPrefix(module.Sum, "h1:") {
			t.Errorf("%s %s has the sum %q and is replaced by %v", module.Path, module.Version, module.Sum, module.Replace)
		}
	}
	for _, file := range []string{"go.mod", "tools/go.mod"} {
		var mod struct {
			Go      string
			Replace []any
		}
		if err := json.Unmarshal([]byte(mustIn(t, apptest.Root(t), "go", "mod", "edit", "-json", file)), &mod); err != nil {
			t.Fatal(err)
		}
		if len(mod.Replace) > 0 {
			t.Errorf("%s replaces %v", file, mod.Replace)
		}
		// Without a patch version, the image has the newest patch.
		image := "FROM docker.io/library/golang:" + strings.TrimSuffix(mod.Go, ".0") + " AS build\n"
		if !bytes.Contains(apptest.ReadFile(t, "Containerfile"), []byte(image)) {
			t.Errorf("%s says go %s, and the Containerfile lacks %q", file, mod.Go, image)
		}
	}
}

// testSymbols checks that the symbol table is present. Without it, scanners report every
// vulnerability of every module.
func testSymbols(t *testing.T, release string) {
	if symbols := mustIn(t, apptest.Root(t), "go", "tool", "nm", release); !strings.Contains(symbols, " T net/http.(*Server).Serve\n") {
		t.Error("the symbol table is stripped")
	}
}
