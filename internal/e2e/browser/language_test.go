package browser

import (
	"testing"

	"github.com/chromedp/cdproto/emulation"

	"latchkey/internal/apptest"
)

// TestBrowserLanguage opens the dashboard in browsers whose readers prefer different languages. The
// script writes times in the page's language, as the reader's region writes them.
func TestBrowserLanguage(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	b := apptest.OpenBrowser(t, a)
	b.SignIn("/login", apptest.Ada)
	for name, tt := range map[string]struct{ accept, language, locale, far string }{
		"German of Austria":              {"de-AT,de,en", "de", "de-AT", "in 7 Tagen"},
		"no catalogue":                   {"fr-FR", "en", "en", "in 7 days"},
		"no catalogue, but also English": {"fr-FR,en-GB", "en", "en-GB", "in 7 days"},
	} {
		speaks(b, tt.accept)
		b.Open("/dashboard")
		b.Until(`!document.querySelector("time:not([data-local])")`)
		if got := apptest.Evaluate[string](b, `document.documentElement.lang`); got != tt.language {
			t.Errorf("%s: the page is in %s, want %s", name, got, tt.language)
		}
		if !apptest.Evaluate[bool](b, `[...document.querySelectorAll("time")].every(time => time.textContent === new Intl.DateTimeFormat("`+tt.locale+`", { dateStyle: "medium", timeStyle: "short" }).format(new Date(time.dateTime)))`) {
			t.Errorf("%s: the times are %s", name, apptest.Evaluate[string](b, `[...document.querySelectorAll("time")].map(time => time.textContent).join("; ")`))
		}
		b.Until(`[...document.querySelectorAll("[data-seconds]")].some(e => e.textContent === "` + tt.far + `")`)
	}
}

// speaks sets the languages that the reader prefers.
func speaks(b *apptest.Browser, accept string) {
	b.T.Helper()
	agent := apptest.Evaluate[string](b, `navigator.userAgent`)
	apptest.Call(b, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agent, AcceptLanguage: accept})
}
