package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"latchkey/authn"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestProviderErrorIsNotQuoted (CB-09) has the provider, or whoever made the link, say
// things that are meant for a browser, a terminal or a log.
func TestProviderErrorIsNotQuoted(t *testing.T) {
	t.Parallel()
	const (
		cancelled = http.StatusForbidden
		refused   = http.StatusBadGateway
	)
	for name, tt := range map[string]struct {
		code, description, uri string
		status                 int
	}{
		"CB-09 a code that we know":       {"access_denied", "", "", cancelled},
		"CB-09 a script":                  {"<script>MARK</script>", "<script>MARK</script>", "https://MARK.example", refused},
		"CB-09 an address that is code":   {"access_denied", "", "javascript:MARK", cancelled},
		"CB-09 7 KiB of description":      {"access_denied", strings.Repeat("MARK", 7<<8), "", cancelled},
		"CB-09 7 KiB of code":             {strings.Repeat("MARK", 7<<8), "", "", refused},
		"CB-09 line breaks":               {"MARK\r\n{\"msg\":\"signed in\"}", "\r\nSet-Cookie: MARK=1", "", refused},
		"CB-09 writing backwards":         {"MARK\u202e", "\u2066MARK\u2069", "", refused},
		"CB-09 colours for a terminal":    {"MARK\x1b[31m", "\x1b]0;MARK\x07", "", refused},
		"CB-09 an attribute":              {`" onmouseover="MARK`, `'><img src=x onerror=MARK>`, "", refused},
		"CB-09 a template":                {"{{MARK}}", "${MARK}", "", refused},
		"CB-09 zero, and what is no text": {"MARK\x00", "\xff\xfeMARK", "", refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			s.OP.Edit(scriptedop.Authorize, func(response map[string]any) {
				delete(response, "code")
				response["error"], response["error_description"], response["error_uri"] = tt.code, tt.description, tt.uri
			})
			v := s.Visitor()
			got := v.Callback(v.AuthorizationResponse("/profile"))
			s.WantRefused(v, got, tt.status, authn.ReasonDeclined, 0, 0)
			said := got.Body + fmt.Sprint(got.Header) + s.Log.String()
			if strings.Contains(said, "MARK") || strings.ContainsAny(said, "\x1b\x00\u202e\u2066") || strings.Contains(got.Body, "javascript:") {
				t.Errorf("the provider's text is quoted:\n%.600s", said)
			}
			if lines := s.Logged("signed in", ""); len(lines) > 0 {
				t.Errorf("the log says %v", lines)
			}
		})
	}
	t.Run("CB-09 64 KiB of description are too much", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		v := s.Visitor()
		got := v.Callback("/callback?state=" + strings.Repeat("x", 43) + "&error=access_denied&error_description=" + strings.Repeat("MARK", 16<<10))
		if got.StatusCode != http.StatusRequestHeaderFieldsTooLarge || strings.Contains(got.Body+s.Log.String(), "MARK") {
			t.Errorf("answered %d %.100s", got.StatusCode, got.Body)
		}
	})
}
