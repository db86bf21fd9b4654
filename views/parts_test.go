package views_test

import (
	"strings"
	"testing"
	"time"

	"latchkey/views"

	"github.com/a-h/templ"
)

func TestSignInAndSignOutButtonsHaveTheirIDs(t *testing.T) {
	t.Parallel()
	all := pages(t, "Ada")
	for name, want := range map[string]struct{ login, logout int }{
		"home": {1, 0}, "home, signed out": {1, 0}, "signed out": {1, 0}, "moving on": {0, 0}, "failure": {0, 0},
		"dashboard": {0, 1}, "profile": {0, 1}, "confirm sign-out": {0, 1}, "failure inside": {0, 1},
	} {
		if n := strings.Count(all[name], `<a id="qsLoginBtn" `); n != want.login {
			t.Errorf("%s has qsLoginBtn %d times, want %d", name, n, want.login)
		}
		if n := strings.Count(all[name], `<form method="post" action="/logout"><button id="qsLogoutBtn" `); n != want.logout {
			t.Errorf("%s has qsLogoutBtn %d times, want %d", name, n, want.logout)
		}
	}
}

func TestRefreshFormWorksWithAndWithoutHtmx(t *testing.T) {
	t.Parallel()
	card := pages(t, "Ada")["fragment card"]
	if !strings.HasPrefix(card, `<section id="profile-card"`) {
		t.Error("the fragment is not the card alone")
	}
	for _, want := range []string{
		`method="post" action="/profile/refresh"`, `hx-post="/profile/refresh"`, `hx-target="#profile-card"`, `hx-swap="outerHTML"`,
		`hx-sync="this:drop"`, `hx-status:4xx="target:#profile-message swap:innerHTML"`, `<div id="profile-message" data-message>`,
		`hx-status:5xx="target:#profile-message swap:innerHTML"`, `<template><div role="alert">`, `type="submit" form="profile-refresh"`,
	} {
		if !strings.Contains(card, want) {
			t.Errorf("the card lacks %s", want)
		}
	}
}

func TestProfileCardShowsTheRefresh(t *testing.T) {
	t.Parallel()
	change := views.Change{Claim: "name", Before: "Ada", After: "Ada L."}
	for name, c := range map[string]struct {
		props           views.ProfileProps
		announced, seen string
	}{
		"not refreshed": {views.ProfileProps{}, "", ""},
		"nothing":       {views.ProfileProps{JustRefreshed: true}, "Profile refreshed. Nothing has changed.", "Up to date: nothing has changed."},
		"one change":    {views.ProfileProps{JustRefreshed: true, Changes: []views.Change{change}}, "Profile refreshed. 1 change.", "Ada L."},
		"two changes":   {views.ProfileProps{JustRefreshed: true, Changes: []views.Change{change, change}}, "Profile refreshed. 2 changes.", "Ada L."},
		"an old change": {views.ProfileProps{Changes: []views.Change{change}}, "", "Changed at the last refresh"},
		"claim came":    {views.ProfileProps{Changes: []views.Change{{Claim: "name", After: "Ada"}}}, "", "not set"},
		"a failure":     {views.ProfileProps{Failure: &views.FailureProps{Text: "The provider did not answer."}}, "", "The provider did not answer."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			card := render(t, views.ProfileCard(c.props))
			if !strings.Contains(card, ` data-announce="`+c.announced+`"`) {
				t.Errorf("it does not announce %q", c.announced)
			}
			if !strings.Contains(card, c.seen) {
				t.Errorf("it does not show %q", c.seen)
			}
		})
	}
	if told := render(t, views.ProfileCard(views.ProfileProps{Failure: &views.FailureProps{Text: "x"}})); strings.Contains(told, "Up to date") {
		t.Error("after a refresh that failed, the card says that it is up to date")
	}
}

func TestPictureSendsNoReferrer_HB19(t *testing.T) {
	t.Parallel()
	props := views.ProfileProps{Person: views.Person{Name: "Ada", Initials: "AL", Picture: "https://images.example/ada.png"}}
	const picture = `AL <img src="https://images.example/ada.png" width="64" height="64" alt="" referrerpolicy="no-referrer">`
	if card := render(t, views.ProfileCard(props)); !strings.Contains(card, picture) {
		t.Errorf("the card lacks %s", picture)
	}
	props.Person.Picture = ""
	if card := render(t, views.ProfileCard(props)); strings.Contains(card, "<img") || !strings.Contains(card, ">AL") {
		t.Error("without a picture, the card does not show the initials alone")
	}
}

func TestEmailShowsWhetherItIsVerified(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]views.Person{
		"E-mail verified":     {Email: "a@example.com", EmailVerified: true},
		"E-mail not verified": {Email: "a@example.com"},
		"No e-mail address":   {},
	} {
		if card := render(t, views.ProfileCard(views.ProfileProps{Person: p})); !strings.Contains(card, want) {
			t.Errorf("%+v does not say %q", p, want)
		}
	}
}

// claimValue renders one claim on the dashboard and returns its row's value.
func claimValue(t *testing.T, v views.ClaimValue) string {
	t.Helper()
	s := views.Shell{Assets: newAssets(t)}
	page := render(t, views.Dashboard(s, views.DashboardProps{
		Profile: templ.NopComponent, Claims: views.ClaimsCard(views.ClaimsProps{Claims: []views.Claim{{Name: "claim", Value: v}}}, false),
	}))
	_, rows, _ := strings.Cut(page, `<dl class="rows claims">`)
	_, value, _ := strings.Cut(rows, "<dd><div>")
	value, _, _ = strings.Cut(value, "</div></dd>")
	return value
}

func TestClaimValue(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 601)
	for name, c := range map[string]struct {
		value views.ClaimValue
		want  string
	}{
		"text":       {views.ClaimValue{Text: "Ada"}, "<bdi>Ada</bdi>"},
		"empty text": {views.ClaimValue{}, `<span class="muted">empty</span>`},
		"long text":  {views.ClaimValue{Text: long}, `<div class="long" tabindex="0" role="group" aria-label="claim"><bdi>` + long + `</bdi></div>`},
		"yes":        {views.ClaimValue{Kind: views.ClaimBool, Bool: true}, "Yes"},
		"no":         {views.ClaimValue{Kind: views.ClaimBool}, "No"},
		"time":       {views.ClaimValue{Kind: views.ClaimTime, Time: noon}, `<time datetime="2026-03-01T11:00:00Z">1 Mar 2026, 11:00 UTC</time>`},
		"no time":    {views.ClaimValue{Kind: views.ClaimTime, Time: time.Time{}}, `<span class="muted">unknown</span>`},
		"list":       {views.ClaimValue{Kind: views.ClaimList, List: []string{"a", "b"}}, `<ul class="chips"><li><bdi>a</bdi></li><li><bdi>b</bdi></li></ul>`},
		"empty list": {views.ClaimValue{Kind: views.ClaimList}, `<span class="muted">none</span>`},
		"JSON":       {views.ClaimValue{Kind: views.ClaimJSON, Text: `{"a":1}`}, `<pre tabindex="0" role="group" aria-label="claim"><code>{&#34;a&#34;:1}</code></pre>`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := strings.TrimSpace(claimValue(t, c.value)); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

func TestLongListFolds(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{12: "", 13: "<summary>1 more</summary>", 60: "<summary>48 more</summary>"} {
		got := claimValue(t, views.ClaimValue{Kind: views.ClaimList, List: make([]string, n)})
		if strings.Count(got, "<li>") != n || !strings.Contains(got, want) || (want == "") == strings.Contains(got, "<details") {
			t.Errorf("%d items: %d shown, want %q", n, strings.Count(got, "<li>"), want)
		}
	}
}

func TestOnlyHTTPSBecomesALink_HB18(t *testing.T) {
	t.Parallel()
	for text, link := range map[string]bool{
		"https://example.com/ada?a=b#c": true,
		"HTTPS://example.com/":          true,
		"http://example.com/":           false,
		"javascript:alert(1)":           false,
		"java\tscript:alert(1)":         false,
		"https:javascript:alert(1)":     false,
		"data:text/html,x":              false,
		"//evil.example":                false,
		"/logout":                       false,
		"https://":                      false,
		"https:///evil.example":         false,
		"https://user:pass@example.com": false,
		" https://example.com":          false,
		"mailto:ada@example.com":        false,
		"":                              false,
	} {
		got := claimValue(t, views.ClaimValue{Kind: views.ClaimURL, Text: text})
		if strings.Contains(got, "<a ") != link {
			t.Errorf("%q is a link: %v", text, !link)
		}
		if link && !strings.Contains(got, ` rel="noreferrer"`) {
			t.Errorf("the link to %q sends a referrer", text)
		}
	}
}

func TestCountdown(t *testing.T) {
	t.Parallel()
	s := views.Shell{Assets: newAssets(t)}
	for left, want := range map[time.Duration]string{
		-time.Second:                   ">now<",
		0:                              ">now<",
		time.Second:                    ">in 1 second<",
		90 * time.Second:               ">in 90 seconds<",
		91 * time.Second:               ">in 2 minutes<",
		90 * time.Minute:               ">in 90 minutes<",
		91 * time.Minute:               ">in 2 hours<",
		23*time.Hour + 20*time.Minute:  ">in 23 hours<",
		36 * time.Hour:                 ">in 36 hours<",
		7*24*time.Hour - 1*time.Second: ">in 7 days<",
	} {
		page := render(t, views.Dashboard(s, views.DashboardProps{Profile: templ.NopComponent, Claims: templ.NopComponent, Session: views.SessionProps{IdleUntil: noon, IdleLeft: left, Expires: noon, Left: left}}))
		if strings.Count(page, want) != 2 {
			t.Errorf("%s before the end the card does not say %q", left, want)
		}
	}
}

func TestRefreshedClaimShowsItsOldValue(t *testing.T) {
	t.Parallel()
	for change, want := range map[views.ClaimChange]string{
		views.ClaimUnchanged: "",
		views.ClaimNew:       "<strong>New</strong> at the last refresh",
		views.ClaimChanged:   "<strong>Changed</strong> at the last refresh from <del><bdi>old</bdi></del>",
		views.ClaimRemoved:   `<dd><div><p class="claim-change"><strong>Removed</strong> at the last refresh: <del><bdi>old</bdi></del>`,
	} {
		page := render(t, views.RefreshedProfile(views.ProfileProps{}, views.ClaimsProps{Claims: []views.Claim{{Name: "name", Change: change, Before: "old"}}}))
		if !strings.Contains(page, want) || strings.Contains(page, "claim-change") != (want != "") {
			t.Errorf("change %d: %s", change, page)
		}
		if !strings.Contains(page, `<section id="claims-card" class="card" aria-labelledby="claims-heading" hx-swap-oob="true">`) {
			t.Error("htmx would not swap in the claims")
		}
	}
}
