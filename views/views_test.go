package views_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"html"
	"io"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"

	"latchkey/views"
	"latchkey/views/messages"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.FixedZone("CET", 3600))

func newAssets(t *testing.T) *views.Assets {
	t.Helper()
	a, err := views.NewAssets(views.Colour)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func render(t *testing.T, c templ.Component) string {
	t.Helper()
	return renderIn(t.Context(), t, c)
}

func renderIn(ctx context.Context, t *testing.T, c templ.Component) string {
	t.Helper()
	var b strings.Builder
	if err := c.Render(ctx, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func person(text string) views.Person {
	return views.Person{ID: text, Name: text, Email: text, EmailVerified: true, Initials: text, Picture: text}
}

func profile(text string) views.ProfileProps {
	return views.ProfileProps{Person: person(text), Fetched: noon, JustRefreshed: true, Changes: 3}
}

func received(text string) views.ReceivedProps {
	return views.ReceivedProps{
		IDToken: text, UserInfo: text,
		Changes: []views.Change{{Claim: text, Before: text, After: text}, {Claim: text, After: text}, {Claim: text, Before: text}},
	}
}

func profilePage(text string) views.ProfilePageProps {
	return views.ProfilePageProps{Profile: profile(text), Received: received(text), Failure: new(failure(text))}
}

func dashboard(text string) views.DashboardProps {
	value := views.ClaimValue{Text: text, List: slices.Repeat([]string{text}, 14), Time: noon, Bool: true}
	var claims []views.Claim
	for kind := views.ClaimText; kind <= views.ClaimJSON; kind++ {
		value.Kind = kind
		for change := views.ClaimUnchanged; change <= views.ClaimRemoved; change++ {
			claims = append(claims, views.Claim{Name: text, Value: value, Change: change, Before: text})
		}
		claims = append(claims, views.Claim{Name: text, Label: text, Value: value}, views.Claim{Name: text, Value: views.ClaimValue{Kind: kind}})
	}
	var groups []views.ClaimGroup
	for part := range slices.Chunk(claims, (len(claims)+2)/3) {
		groups = append(groups, views.ClaimGroup{Kind: views.ClaimGroupKind(len(groups)), Source: views.FromIDToken | views.FromUserInfo, Changed: true, Claims: part})
	}
	return views.DashboardProps{
		Name: text, Profile: views.ProfileCard(profile(text)), Claims: views.ClaimsCard(views.ClaimsProps{Groups: groups, Filter: true, JSON: text}, false),
		Session: views.SessionProps{SignedIn: noon, Expires: noon, IdleUntil: noon, Issuer: text},
		Token:   views.TokenProps{Audience: text, Scopes: []string{text}, Expires: noon},
	}
}

func failure(text string) views.FailureProps {
	return views.FailureProps{
		Status: 503, Heading: text, Text: text, Reference: text, RetryForm: "profile-refresh",
		Actions: []views.Action{{Label: text, URL: "/", Primary: true}, {Label: text, URL: "/login"}},
	}
}

func devices(text string) views.SessionsProps {
	return views.SessionsProps{Sessions: []views.OwnSession{
		{ID: "here", Device: text, Kind: text, SignedIn: noon, LastSeen: noon, Current: true},
		{ID: "there", Device: text, Kind: text, SignedIn: noon, LastSeen: noon, EndURL: "/sessions/there/end"},
	}}
}

func resume(text string) views.ResumeProps {
	return views.ResumeProps{Pending: text, Path: text, URL: "/resume/id"}
}

func forbiddenProps(text string) views.ForbiddenProps {
	return views.ForbiddenProps{
		Failure: failure(text), Person: person(text), SwitchURL: "/login?switch=1",
		Needs: []views.Need{{Claim: text, Value: text, Held: text}, {Claim: text, Value: text}},
	}
}

// pages renders every page, with text wherever a text is shown. The names of the fragments
// begin with "fragment".
func pages(t *testing.T, text string) map[string]string {
	t.Helper()
	return pagesIn(t.Context(), t, text)
}

// pagesIn is like pages, with the texts that a context has.
func pagesIn(ctx context.Context, t *testing.T, text string) map[string]string {
	t.Helper()
	signedOut := views.Shell{Assets: newAssets(t), Title: text, Header: views.Header(text, true, person(text)), LoginURL: "/login", ProviderURL: "http://127.0.0.1:3001/"}
	signedIn := signedOut
	signedIn.Person, signedIn.EndsIn, signedIn.ReturnTo, signedIn.Notices = new(person(text)), time.Hour, text, []string{text}
	asked := signedIn
	asked.Header = views.Header("/logout", true, person(text))
	out := map[string]string{}
	for name, c := range map[string]templ.Component{
		"home":             views.Home(signedOut, views.HomeProps{LoginURL: "/login", SignInDown: true}),
		"home, signed out": views.Home(signedOut, views.HomeProps{LoginURL: "/login", SignedOut: &views.SignedOutProps{Reason: text}}),
		"moving on":        views.MovingOn(signedOut, views.MovingOnProps{Heading: text, Text: text, URL: "/login"}),
		"dashboard":        views.Dashboard(signedIn, dashboard(text)),
		"profile":          views.Profile(signedIn, profilePage(text)),
		"signed out":       views.SignedOut(signedOut, views.SignedOutProps{LoginURL: "/login", Reason: text}),
		"confirm sign-out": views.ConfirmSignOut(asked),
		"devices":          views.Sessions(signedIn, devices(text)),
		"end others":       views.ConfirmEndOthers(signedIn),
		"fragment devices": views.EndedSession(devices(text), text),
		"admin":            views.Admin(signedIn, views.AdminProps{Address: text, Issuer: text, StoreDown: true}),
		"forbidden":        views.Forbidden(signedIn, forbiddenProps(text)),
		"resume":           views.Resume(signedIn, resume(text)),
		"resume, unnamed":  views.Resume(signedIn, views.ResumeProps{Path: text, URL: "/resume/id"}),
		"fragment denied":  views.ForbiddenNotice(forbiddenProps(text)),
		"failure":          views.Failure(signedOut, failure(text)),
		"failure inside":   views.Failure(signedIn, failure(text)),
		"fragment card":    views.ProfileCard(profile(text)),
		"fragment failure": views.FailureNotice(failure(text)),
	} {
		out[name] = renderIn(ctx, t, c)
	}
	return out
}

var (
	tag       = regexp.MustCompile(`<[^<>"]*(?:"[^"]*"[^<>"]*)*>`)
	quoted    = regexp.MustCompile(`"[^"]*"`)
	inline    = regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|hx-on|\bjs:|hx-trigger|hx-vals|<script>|<iframe|<base|<object`)
	scripts   = regexp.MustCompile(`<script src="/static/[a-z.]+\.[0-9a-f]{16}\.js" defer></script>`)
	ids       = regexp.MustCompile(`\sid="([^"]*)"`)
	templates = regexp.MustCompile(`(?s)<template.*?</template>`)
	addresses = regexp.MustCompile(`(?:src|href|action|hx-post)="([^"]*)"`)
)

// skeleton returns a page without its texts and the values of its attributes.
func skeleton(page string) string {
	return quoted.ReplaceAllString(strings.Join(tag.FindAllString(page, -1), "\n"), `""`)
}

func TestForeignTextAddsNothingToAPage_HB17(t *testing.T) {
	t.Parallel()
	texts := map[string]string{
		"script":         `<script>alert(1)</script>`,
		"attribute":      `"><img src=x onerror=alert(1)>`,
		"single quote":   `' onmouseover='alert(1)`,
		"end of title":   `</title></head><body onload=alert(1)>`,
		"end of code":    `</code></pre></template></dl><svg onload=alert(1)>`,
		"entity":         `&lt;script&gt;alert(1)&lt;/script&gt;`,
		"template":       `{{constructor.constructor('alert(1)')()}} { children... } ${alert(1)}`,
		"URL":            `javascript:alert(1)`,
		"htmx":           `<hx-partial hx-target="body"><p hx-get="/x" hx-trigger="load"></hx-partial>`,
		"comment":        `<!-- --> <![CDATA[`,
		"line separator": "a\u2028b\u2029c\r\nd\x00e",
		"right to left":  "\u202eevil\u202c \u0644\u064a\u0644\u0649",
		"not UTF-8":      "\xff\xfe<b>",
	}
	plain := pages(t, "Ada Lovelace")
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for page, got := range pages(t, text) {
				if skeleton(got) != skeleton(plain[page]) {
					t.Errorf("%s: the elements or attributes differ from those of the page with a plain name", page)
				}
			}
		})
	}
	t.Run("100 KiB", func(t *testing.T) {
		t.Parallel()
		long := pages(t, strings.Repeat("x", 100<<10))
		for page, got := range pages(t, strings.Repeat(`<b>'"`, 20<<10)) {
			for _, mark := range []string{"<", ">", `"`, "'"} {
				if n, want := strings.Count(got, mark), strings.Count(long[page], mark); n != want {
					t.Errorf("%s has %s %d times, want %d as with a plain text of the same length", page, mark, n, want)
				}
			}
		}
	})
}

func TestNoPageHoldsInlineCode_HB05(t *testing.T) {
	t.Parallel()
	for name, page := range pages(t, "Ada") {
		if found := inline.FindString(page); found != "" {
			t.Errorf("%s has %q", name, found)
		}
		if n := strings.Count(page, "<script"); n != len(scripts.FindAllString(page, -1)) {
			t.Errorf("%s has a script that is not one of our assets", name)
		}
	}
}

func TestEveryAddressIsLocal_HB06(t *testing.T) {
	t.Parallel()
	for name, page := range pages(t, "/picture") {
		for _, m := range addresses.FindAllStringSubmatch(page, -1) {
			ours := strings.HasPrefix(m[1], "/") && !strings.HasPrefix(m[1], "//") || m[1] == "?" // the page itself
			if !ours && m[1] != "#main" && m[1] != "http://127.0.0.1:3001/" {
				t.Errorf("%s leads to %q", name, m[1])
			}
		}
	}
}

func TestEveryPageUsesTheLayout(t *testing.T) {
	t.Parallel()
	for name, page := range pages(t, "Title") {
		if strings.HasPrefix(name, "fragment") {
			if strings.Contains(page, "<html") || strings.Contains(page, "<main") {
				t.Errorf("%s is a whole page", name)
			}
			continue
		}
		for _, want := range []string{
			`<!doctype html><html lang="en" dir="ltr">`, "<title>Title · " + views.Product + "</title>", `name="viewport"`,
			`<a class="skip" href="#main">`, "<header ", `<main id="main" tabindex="-1">`, "<footer ", "Development provider",
		} {
			if strings.Count(page, want) != 1 {
				t.Errorf("%s has %q %d times, want 1", name, want, strings.Count(page, want))
			}
		}
		if strings.Count(page, "<h1") != 1 {
			t.Errorf("%s does not have exactly one h1", name)
		}
		seen := map[string]bool{}
		for _, m := range ids.FindAllStringSubmatch(templates.ReplaceAllString(page, ""), -1) {
			if seen[m[1]] {
				t.Errorf("%s has the id %q twice", name, m[1])
			}
			seen[m[1]] = true
		}
	}
}

func TestPagesLoadOnlyTheScriptsTheyNeed(t *testing.T) {
	t.Parallel()
	all := pages(t, "Ada")
	for name, want := range map[string]struct{ htmx, session, devices bool }{
		"home": {false, false, false}, "signed out": {false, false, false}, "failure": {false, false, false},
		"dashboard": {true, true, false}, "profile": {true, true, false}, "devices": {true, true, true},
		"confirm sign-out": {false, true, false}, "failure inside": {false, true, false},
	} {
		if got := strings.Contains(all[name], "/static/htmx.min."); got != want.htmx {
			t.Errorf("%s loads htmx: %v", name, got)
		}
		if got := strings.Contains(all[name], "/static/session."); got != want.session {
			t.Errorf("%s loads session.js: %v", name, got)
		}
		if got := strings.Contains(all[name], "/static/devices."); got != want.devices {
			t.Errorf("%s loads devices.js: %v", name, got)
		}
		if got := regexp.MustCompile(`/static/app\.\w+\.js`).MatchString(all[name]); got == want.session {
			t.Errorf("%s loads app.js, which session.js contains: %v", name, got)
		}
	}
}

func TestHtmxIsConfiguredBeforeItLoads_HB04(t *testing.T) {
	t.Parallel()
	page := pages(t, "Ada")["dashboard"]
	m := regexp.MustCompile(`<meta name="htmx-config" content="([^"]*)">.*htmx\.min\.`).FindStringSubmatch(page)
	if m == nil {
		t.Fatal("no configuration before the script")
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(html.UnescapeString(m[1])), &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"history": false, "includeIndicatorCSS": false, "transitions": false, "mode": "same-origin",
		"prefix": "", "extensions": "none", "defaultTimeout": 15000.0, "morphSkipChildren": "[data-message]",
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s: %v, want %v", name, v, want)
		}
	}
}

// TestPagesStayWithinTheirWeight measures what a first visit transfers, compressed. The app
// compresses the assets, and the proxy in front of it may compress the page.
func TestPagesStayWithinTheirWeight(t *testing.T) {
	t.Parallel()
	a := newAssets(t)
	weigh := func(page string) int {
		total := &countingWriter{}
		z := gzip.NewWriter(total)
		_, _ = io.WriteString(z, page)
		_ = z.Close()
		for _, url := range slices.Compact(slices.Sorted(slices.Values(regexp.MustCompile(`/static/[^"]+`).FindAllString(page, -1)))) {
			r := httptest.NewRequest("GET", url, nil)
			r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd") // as browsers do
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			total.n += w.Body.Len()
		}
		return total.n
	}
	for language, limits := range map[string]map[string]int{
		"en": {"home": 10 << 10, "dashboard": 24 << 10},
		"de": {"home": 10 << 10, "dashboard": 24 << 10},
	} {
		all := pagesIn(messages.NewContext(t.Context(), messages.NewMatcher().Match([]string{language})), t, "Ada Lovelace")
		for name, limit := range limits {
			got := weigh(all[name])
			t.Logf("%s in %s: %d bytes", name, language, got)
			if got > limit {
				t.Errorf("%s in %s weighs %d bytes, more than %d", name, language, got, limit)
			}
		}
	}
}

type countingWriter struct{ n int }

func (w *countingWriter) Write(b []byte) (int, error) {
	w.n += len(b)
	return len(b), nil
}
