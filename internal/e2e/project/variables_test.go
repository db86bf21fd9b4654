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
	"APP_HOST", "VALKEY_PASSWORD", "REDISCLI_AUTH", // from deploy/compose.yaml
	"NET_BIND_SERVICE", "CAP_NET_BIND_SERVICE", "AF_INET", "AF_INET6", "AF_UNIX", // Linux's
	"NO_COLOR",
	"SCREENSHOTS", "PIECE", // of the test that takes pictures
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
				t.Errorf("%s names %s, which is not a variable of the program", file, n)
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

// TestConfigurationPage checks that docs/configuration.md lists the variables as Config has
// them: their names, defaults and descriptions.
func TestConfigurationPage(t *testing.T) {
	t.Parallel()
	wantGenerated(t, "docs/configuration.md", "variables", variableTables())
}

// variableTables returns a table of variables for each group of them.
func variableTables() string {
	headings := map[string]string{ // by the first variable of a group
		"AUTH0_DOMAIN": "Provider", "APP_SECRET_KEY": "The app", "SESSION_STORE": "Sessions",
		"CLIENT_AUTH": "Protocol", "TRUSTED_PROXIES": "Proxies, pictures and the log",
	}
	var b strings.Builder
	for _, v := range app.Variables() {
		if heading := headings[v.Name]; heading != "" {
			b.WriteString("\n### " + heading + "\n\n| variable | default | meaning |\n|---|---|---|\n")
		}
		meaning, value := v.Description, v.Default
		if text, inWords, ok := strings.Cut(meaning, " (default "); ok {
			meaning, value = text, code(strings.TrimSuffix(inWords, ")"))
		} else if value != "" {
			value = "`" + value + "`"
		}
		b.WriteString("| `" + v.Name + "` | " + value + " | " + code(meaning) + " |\n")
	}
	return b.String() + "\n"
}

// code marks the code in a description: variables, addresses, paths, networks and words with
// underscores.
func code(description string) string {
	return regexp.MustCompile(`[a-z0-9+]*:?//[^ ,;)]+[^ .,;)]|/[a-z-]+\b|\b[\w.]+(?::\w+|/\d+)(?:[+]1)?|\b\w+_\w+|\b\w+(?:\.\w+){2,}`).
		ReplaceAllString(description, "`${0}`")
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
