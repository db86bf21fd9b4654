package project

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
	"latchkey/internal/product"
)

// notOurs are names in capitals in documents and deployments that are not variables of this
// program.
var notOurs = []string{
	"GOMEMLIMIT", "AUTOMEMLIMIT", "CGO_ENABLED", // Go's, and a library's
	"APP_HOST", "VALKEY_PASSWORD", "REDISCLI_AUTH", "CADDY_DIGEST", "VALKEY_DIGEST", // from deploy/compose.yaml
	"NET_BIND_SERVICE", "CAP_NET_BIND_SERVICE", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNIX", // Linux's
	"NO_COLOR",
	"DATABASE_URL",                   // of examples/people
	"ORDERS_API",                     // of a product, in docs/guide.md
	"NOTES_FILE",                     // of a product, in docs/guide.md
	"OTEL_EXPORTER_OTLP_ENDPOINT",    // of examples/tracing
	"SCREENSHOTS", "PIECE", "FAULTS", // of the tests that take pictures and of those of faults
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
			if !slices.Contains(variableNames(), n) && !isNamed(n) && !slices.Contains(notOurs, n) && n != "TOKEN" {
				t.Errorf("%s names %s, which is not a variable of the program", file, n)
			}
		}
	}
}

// isNamed reports whether a variable is that of one of several providers, under a name that the
// documents use.
func isNamed(name string) bool {
	return slices.ContainsFunc(app.NamedVariables(), func(v app.Variable) bool {
		return slices.ContainsFunc([]string{"name", "work", "home", "google", "entra", "okta", "customers"}, func(provider string) bool { return v.Named(provider) == name })
	})
}

// variables returns the variables of the program that main runs.
func variables() []app.Variable { return app.Program{Product: product.New()}.Variables() }

// variableNames returns the variables of the program, in order.
func variableNames() (names []string) {
	for _, v := range variables() {
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
		"PROVIDERS": "Provider", "CLIENT_AUTH": "Protocol", "AUTH0_CALLBACK_URL": "The app",
		"SESSION_STORE": "Sessions", "API_TOKENS": "The app's own API", "TRUSTED_PROXIES": "Proxies, pictures and the log",
	}
	var b strings.Builder
	own := false
	for _, v := range variables() {
		heading := headings[v.Name]
		if v.OfProduct && !own {
			own, heading = true, "The product"
		}
		if heading != "" {
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
	b.WriteString("\n### Each of several providers\n\n| variable | meaning |\n|---|---|\n")
	for _, v := range app.NamedVariables() {
		b.WriteString("| `" + v.Named("NAME") + "` | " + code(v.OfEach()) + " |\n")
	}
	return b.String() + "\n"
}

// code marks the code in a description: variables, addresses, paths, networks and words with
// underscores.
func code(description string) string {
	var names []string
	for _, v := range variables() {
		names = append(names, `\b`+v.Name+`\b`)
	}
	return regexp.MustCompile(`[a-z0-9+]*:?//[^ ,;)]+[^ .,;)]|/[a-z-]+\b|\b[\w.]+(?::\w+|/\d+)(?:[+]1)?|\b\w+_\w+(?:\.\w+)?|\b\w+(?:\.\w+){2,}|`+strings.Join(names, "|")).
		ReplaceAllString(description, "`${0}`")
}
