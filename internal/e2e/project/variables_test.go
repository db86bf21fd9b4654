package project

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
)

// notOurs are names in capitals in documents and deployments that are not variables of this
// program.
var notOurs = []string{
	"GOMEMLIMIT", "CGO_ENABLED", // Go's
	"APP_HOST", "VALKEY_PASSWORD", "REDISCLI_AUTH", // of deploy/compose.yaml
	"NET_BIND_SERVICE", "CAP_NET_BIND_SERVICE", "AF_INET", "AF_INET6", "AF_UNIX", // Linux's
	"NO_COLOR",
}

// TestDocumentedVariables (CF-01) checks that every variable exists that a document, an
// example or a deployment names.
func TestDocumentedVariables(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b`)
	set := regexp.MustCompile(`(?m)^(?:# )?([A-Z][A-Z0-9_]+)=`)
	for _, file := range documents(t) {
		text := string(apptest.ReadFile(t, file))
		names := name.FindAllString(text, -1)
		for _, match := range set.FindAllStringSubmatch(text, -1) {
			names = append(names, match[1])
		}
		slices.Sort(names)
		for _, n := range slices.Compact(names) {
			if !slices.Contains(variableNames(), n) && !slices.Contains(notOurs, n) && n != "TOKEN" {
				t.Errorf("%s names %s, and there is no such variable", file, n)
			}
		}
	}
}

// variableNames returns the variables of the program, in order.
func variableNames() (names []string) {
	for _, v := range app.Variables() {
		names = append(names, v.Name)
	}
	return names
}

// documents returns the files that tell people or machines which variables to set.
func documents(t *testing.T) []string {
	t.Helper()
	files := []string{"README.md", ".env.example", "Containerfile"}
	for _, pattern := range []string{"docs/*.md", "deploy/*"} {
		matches, err := filepath.Glob(filepath.Join(apptest.Root(t), pattern))
		if err != nil || len(matches) == 0 {
			t.Fatalf("no %s (%v)", pattern, err)
		}
		files = append(files, matches...)
	}
	return slices.DeleteFunc(files, func(name string) bool { return filepath.Base(name) == ".env" })
}

// TestVariableTable checks the table in README.md against Config: each variable has a row
// with its default.
func TestVariableTable(t *testing.T) {
	t.Parallel()
	rows := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| (`[A-Z][^|]*) \\| ([^|]*) \\|").FindAllStringSubmatch(string(apptest.ReadFile(t, "README.md")), -1) {
		for variable := range strings.SplitSeq(row[1], ", ") {
			rows[strings.Trim(variable, "`")] = row[2]
		}
	}
	for _, v := range app.Variables() {
		variable, value := v.Name, v.Default
		written, ok := rows[variable]
		delete(rows, variable)
		described := strings.Contains(v.Description, "(default") || strings.Contains(v.Description, "(made")
		switch {
		case !ok:
			t.Errorf("%s has no row in README.md", variable)
		case value != "" && !strings.Contains(written, "`"+value+"`"):
			t.Errorf("%s: README.md says that the default is %s, and it is %q", variable, written, value)
		case value == "" && !described && written != "none":
			t.Errorf("%s: README.md says that the default is %s, and there is none", variable, written)
		case value == "" && described && written == "none":
			t.Errorf("%s: README.md says that there is no default, and there is one", variable)
		}
	}
	for variable := range rows {
		t.Errorf("README.md has a row for %s, and there is no such variable", variable)
	}
}

// TestDeployedConfiguration checks that the program accepts the configuration in deploy/,
// with the secrets filled in.
func TestDeployedConfiguration(t *testing.T) {
	compose := apptest.ReadFile(t, "deploy/compose.yaml")
	var parsed struct {
		Services map[string]struct{ Environment map[string]string }
		Networks map[string]struct {
			IPAM struct{ Config []struct{ Subnet string } }
		}
	}
	if err := yaml.Unmarshal(compose, &parsed); err != nil {
		t.Fatalf("deploy/compose.yaml: %v", err)
	}
	env := []string{"AUTH0_DOMAIN=tenant.eu.auth0.com", "AUTH0_CLIENT_ID=c", "AUTH0_CLIENT_SECRET=s", "APP_SECRET_KEY=0123456789abcdef0123456789abcdef"}
	for variable, value := range parsed.Services["node-2"].Environment {
		env = append(env, variable+"="+strings.NewReplacer("${APP_HOST:?}", "app.example.com", "${VALKEY_PASSWORD:?}", "p").Replace(value))
	}
	cfg, err := app.LoadConfig(env)
	if err != nil {
		t.Fatal(err)
	}
	if subnet := parsed.Networks["inside"].IPAM.Config[0].Subnet; !strings.Contains(string(cfg.SessionStore), "://") || !slices.Equal(cfg.TrustedProxies, []string{subnet}) {
		t.Errorf("no shared store, or the proxies are not those of the network: %v", cfg.TrustedProxies)
	}
	example := string(apptest.ReadFile(t, "deploy/env.example"))
	for _, needed := range regexp.MustCompile(`\$\{([A-Z_]+):\?\}`).FindAllSubmatch(compose, -1) {
		if !strings.Contains(example, "\n"+string(needed[1])+"=") {
			t.Errorf("deploy/env.example lacks %s", needed[1])
		}
	}
}
