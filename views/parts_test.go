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
		`hx-status:5xx="target:#profile-message swap:innerHTML"`, `<template><dialog open aria-label="We couldn&#39;t confirm that"><div role="alert">`, `href="?">Reload</a>`,
	} {
		if !strings.Contains(card, want) {
			t.Errorf("the card lacks %s", want)
		}
	}
}

func TestProfileCardShowsTheRefresh(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		props           views.ProfileProps
		announced, seen string
	}{
		"not refreshed": {views.ProfileProps{}, "", ""},
		"nothing":       {views.ProfileProps{JustRefreshed: true}, "Profile refreshed. Nothing has changed.", "Up to date: nothing has changed."},
		"one change":    {views.ProfileProps{JustRefreshed: true, Changes: 1}, "Profile refreshed. 1 change.", "The last refresh changed 1 claim."},
		"two changes":   {views.ProfileProps{JustRefreshed: true, Changes: 2}, "Profile refreshed. 2 changes.", "The last refresh changed 2 claims."},
		"an old change": {views.ProfileProps{Changes: 1}, "", "The last refresh changed 1 claim."},
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
}

func TestProfilePageShowsWhatWasReceived(t *testing.T) {
	t.Parallel()
	s := views.Shell{Assets: newAssets(t)}
	props := views.ProfilePageProps{Received: views.ReceivedProps{IDToken: "{1}", Changes: []views.Change{{Claim: "name", After: "Ada"}}}}
	page := render(t, views.Profile(s, props))
	for _, want := range []string{"<code>{1}</code>", "Changed at the last refresh", "not set", "<bdi>Ada</bdi>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(page, "Userinfo") {
		t.Error("the page shows userinfo although the provider has none")
	}
	props.Received.UserInfo, props.Failure = "{2}", &views.FailureProps{Text: "The provider did not answer."}
	page = render(t, views.Profile(s, props))
	for _, want := range []string{"<code>{2}</code>", "Userinfo", "The provider did not answer."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
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

// claims returns props with one group of claims.
func claims(list ...views.Claim) views.ClaimsProps {
	return views.ClaimsProps{Groups: []views.ClaimGroup{{Kind: views.ClaimsOfProvider, Claims: list}}}
}

// claimValue renders one claim and returns its row's value.
func claimValue(t *testing.T, v views.ClaimValue) string {
	t.Helper()
	card := render(t, views.ClaimsCard(claims(views.Claim{Name: "claim", Value: v}), false))
	_, value, _ := strings.Cut(card, "<dd>")
	value, _, _ = strings.Cut(value, "</dd>")
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

func TestActivityIsInWords(t *testing.T) {
	t.Parallel()
	for idle, want := range map[time.Duration]string{
		0:                 "Active now",
		time.Minute:       "Active now",
		2 * time.Minute:   "Active 2 minutes ago",
		59 * time.Minute:  "Active 59 minutes ago",
		time.Hour:         "Active 1 hour ago",
		119 * time.Minute: "Active 1 hour ago",
		3 * time.Hour:     "Active 3 hours ago",
		24 * time.Hour:    "Active 1 day ago",
		100 * time.Hour:   "Active 4 days ago",
	} {
		for current, want := range map[bool]string{false: want, true: "Active now"} {
			list := render(t, views.SessionList(views.SessionsProps{Sessions: []views.OwnSession{{LastSeen: noon, Idle: idle, Current: current}}}))
			if exact := `<time datetime="2026-03-01T11:00:00Z" title="1 Mar 2026, 11:00 UTC" data-relative>`; !strings.Contains(list, exact+want+"</time>") {
				t.Errorf("%s, this device: %t: the list does not say %q:\n%s", idle, current, want, list)
			}
		}
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
		views.ClaimNew:       `<strong class="claim-new">New</strong> at the last refresh`,
		views.ClaimChanged:   `<strong class="claim-changed">Changed</strong> at the last refresh, previously <del><bdi>old</bdi></del>`,
		views.ClaimRemoved:   `<dd><span class="muted">none</span></dd><dd class="claim-change"><strong class="claim-removed">Removed</strong> at the last refresh: <del><bdi>old</bdi></del>`,
	} {
		page := render(t, views.RefreshedProfile(views.ProfileProps{}, claims(views.Claim{Name: "name", Change: change, Before: "old"}), views.ReceivedProps{}))
		if !strings.Contains(page, want) || strings.Contains(page, "claim-change") != (want != "") {
			t.Errorf("change %d: %s", change, page)
		}
		if !strings.Contains(page, `<section id="claims-card" class="card" aria-labelledby="claims-heading" hx-swap-oob="true">`) {
			t.Error("htmx would not swap in the claims")
		}
		if !strings.Contains(page, `<div id="received" class="stack" hx-swap-oob="true">`) {
			t.Error("htmx would not swap in what was received")
		}
	}
}

func TestClaimsAreGrouped(t *testing.T) {
	t.Parallel()
	claim := []views.Claim{{Name: "claim", Value: views.ClaimValue{Text: "value"}}}
	for name, c := range map[string]struct {
		group   views.ClaimGroup
		want    []string
		without string
	}{
		"profile":           {views.ClaimGroup{Kind: views.ClaimsOfProfile, Source: views.FromUserInfo}, []string{"<h3>Profile</h3>", ">From userinfo<"}, "<summary>Protocol"},
		"custom":            {views.ClaimGroup{Kind: views.ClaimsOfProvider, Source: views.FromIDToken | views.FromUserInfo}, []string{"<h3>Custom claims</h3>", ">From the ID token and userinfo<"}, "<summary>Protocol"},
		"all removed":       {views.ClaimGroup{Kind: views.ClaimsOfProvider}, []string{"<h3>Custom claims</h3>"}, `class="source"`},
		"protocol":          {views.ClaimGroup{Kind: views.ClaimsOfProtocol, Source: views.FromIDToken}, []string{"<summary>Protocol claims</summary>", ">From the ID token<"}, "open>"},
		"protocol, changed": {views.ClaimGroup{Kind: views.ClaimsOfProtocol, Changed: true}, []string{`<details id="protocol-claims" class="fold" open>`}, "<h3>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.group.Claims = claim
			card := render(t, views.ClaimsCard(views.ClaimsProps{Groups: []views.ClaimGroup{c.group}}, false))
			for _, want := range append(c.want, "<bdi>value</bdi>") {
				if strings.Count(card, want) != 1 {
					t.Errorf("%s is there %d times, want once:\n%s", want, strings.Count(card, want), card)
				}
			}
			if strings.Contains(card, c.without) {
				t.Errorf("the card has %s", c.without)
			}
			if strings.Contains(card, "claims-filter") {
				t.Error("the card offers to filter one claim")
			}
		})
	}
}

func TestStatesOfAdminDiffer(t *testing.T) {
	t.Parallel()
	s := views.Shell{Assets: newAssets(t)}
	for down, want := range map[bool]string{true: "badge-warning", false: "badge-good"} {
		if page := render(t, views.Admin(s, views.AdminProps{ProviderDown: down, StoreDown: down})); strings.Count(page, want) != 2 {
			t.Errorf("down %v: %s is there %d times, want 2", down, want, strings.Count(page, want))
		}
	}
}
