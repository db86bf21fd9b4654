package interop

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
)

// TestValuesThatNoProviderIssues (CF-01, CF-02, SL-06) puts values that end in a line break, are in
// quotation marks or stand for another into the configuration. check-config, the start and the doctor
// name the variable, and quote nothing of a secret.
func TestValuesThatNoProviderIssues(t *testing.T) {
	t.Parallel()
	const marked = "kept-to-ourselves"
	for name, tt := range map[string]struct{ variable, value, problem string }{
		"a line break at the end of a secret":        {"AUTH0_CLIENT_SECRET", marked + "\n", "ends with a line break"},
		"Windows' line break":                        {"AUTH0_CLIENT_SECRET", marked + "\r\n", "ends with a line break"},
		"a carriage return":                          {"AUTH0_CLIENT_SECRET", marked + "\r", "ends with a line break"},
		"a space at the end":                         {"AUTH0_CLIENT_SECRET", marked + " ", "ends with white space"},
		"a tab before":                               {"AUTH0_CLIENT_SECRET", "\t" + marked, "begins with white space"},
		"a space that does not break":                {"AUTH0_CLIENT_SECRET", marked + "\u00a0", "ends with white space"},
		"a space without a width":                    {"AUTH0_CLIENT_SECRET", "\u200b" + marked, "begins with white space"},
		"a byte order mark":                          {"AUTH0_CLIENT_SECRET", "\ufeff" + marked, "begins with white space"},
		"a NUL":                                      {"AUTH0_CLIENT_SECRET", marked + "\x00", "ends with white space"},
		"quotation marks":                            {"AUTH0_CLIENT_SECRET", `"` + marked + `"`, "is in quotation marks"},
		"single quotation marks":                     {"AUTH0_CLIENT_SECRET", "'" + marked + "'", "is in quotation marks"},
		"typographic quotation marks":                {"AUTH0_CLIENT_SECRET", "“" + marked + "”", "is in quotation marks"},
		"a line break inside":                        {"AUTH0_CLIENT_SECRET", "kept\nto-ourselves", "not printable ASCII, at byte 5"},
		"a typographic dash":                         {"AUTH0_CLIENT_SECRET", "kept–to-ourselves", "not printable ASCII, at byte 5"},
		"a variable that nothing expanded":           {"AUTH0_CLIENT_SECRET", "${AUTH0_CLIENT_SECRET}", "still has its placeholder"},
		"a variable of a shell":                      {"AUTH0_CLIENT_SECRET", "$CLIENT_SECRET", "still has its placeholder"},
		"a variable of Windows":                      {"AUTH0_CLIENT_SECRET", "%CLIENT_SECRET%", "still has its placeholder"},
		"a template":                                 {"AUTH0_CLIENT_SECRET", "{{ .Values.secret }}", "still has its placeholder"},
		"a description in brackets":                  {"AUTH0_CLIENT_SECRET", "<paste it here>", "still has its placeholder"},
		"the variable's own name":                    {"AUTH0_CLIENT_SECRET", "AUTH0_CLIENT_SECRET", "still has its placeholder"},
		"the words of an example":                    {"AUTH0_CLIENT_SECRET", "your-client-secret-here", "still has its placeholder"},
		"a hidden value":                             {"AUTH0_CLIENT_SECRET", "••••••••••••", "still has its placeholder"},
		"a hidden value in ASCII":                    {"AUTH0_CLIENT_SECRET", "************", "still has its placeholder"},
		"something to change":                        {"AUTH0_CLIENT_SECRET", "change-me", "still has its placeholder"},
		"nothing, of a program":                      {"AUTH0_CLIENT_SECRET", "undefined", "still has its placeholder"},
		"a line break at the end of the client ID":   {"AUTH0_CLIENT_ID", "client\n", "ends with a line break"},
		"a template for the client ID":               {"AUTH0_CLIENT_ID", "{{client_id}}", "still has its placeholder"},
		"a line break at the end of the domain":      {"AUTH0_DOMAIN", "tenant.eu.auth0.com\n", "ends with a line break"},
		"a space without a width in the domain":      {"AUTH0_DOMAIN", "tenant\u200b.eu.auth0.com", "not printable ASCII, at byte 7"},
		"a line break at the end of the audience":    {"AUTH0_AUDIENCE", "https://api.example.com\n", "ends with a line break"},
		"a line break at the end of the redirect":    {"AUTH0_CALLBACK_URL", "http://localhost:3000/callback\n", "ends with a line break"},
		"a line break at the end of a Redis address": {"SESSION_STORE", "rediss://:" + marked + "@redis.example.com\n", "ends with a line break"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := []string{
				"AUTH0_DOMAIN=tenant.eu.auth0.com", "AUTH0_CLIENT_ID=client", "AUTH0_CLIENT_SECRET=another", "PORT=3000",
				"APP_SECRET_KEY=" + secretKey, "DATA_DIR=" + t.TempDir(), tt.variable + "=" + tt.value,
			}
			for _, command := range [][]string{nil, {"check-config"}} {
				err := run(t, command, env)
				if !errors.Is(err, app.ErrConfiguration) || strings.Count(err.Error(), "\n  "+tt.variable+": ") != 1 || !strings.Contains(err.Error(), tt.problem) {
					t.Errorf("%v: error %v", command, err)
				}
				if err != nil && (strings.Contains(err.Error(), "ourselves") || strings.Contains(err.Error(), "•")) {
					t.Errorf("%v: the error quotes a secret: %v", command, err)
				}
			}
			d := apptest.Diagnose(t, env...)
			if f := d.Find(t, "variables"); !strings.Contains(f.Found, tt.variable+": ") || f.Remedy == "" {
				t.Errorf("the doctor says %+v", f)
			}
			if strings.Contains(d.Raw, "ourselves") {
				t.Errorf("the doctor quotes a secret:\n%s", d.Raw)
			}
		})
	}
}

// TestValuesThatAProviderMayIssue has values that are close to those.
func TestValuesThatAProviderMayIssue(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"s", "xx", "a client secret: with spaces, + and %", `"quoted" at the start`, `it's`, `'`, `"`, "null-and-void", "changeme-not", "xxx-is-how-it-begins",
		"$2y$10$abcdefg", "$ecret", "100%", "%41bc%", "{not closed", "closed}", "<3", "~!@#$%^&*()_+{}|:<>?", "GOCSPX-abcdefghijkl", "undefined8",
	} {
		env := []string{"AUTH0_DOMAIN=tenant.eu.auth0.com", "AUTH0_CLIENT_ID=client", "AUTH0_CLIENT_SECRET=" + value, "APP_SECRET_KEY=" + secretKey + "\n", "AUTH0_SCOPES=openid profile\n"}
		if err := run(t, []string{"check-config"}, env); err != nil {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func run(t *testing.T, args, env []string) error {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), apptest.Patience)
	defer stop()
	return app.Run(ctx, args, env, io.Discard)
}
