package authn_test

import (
	"net/http"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// TestDemand checks providers that satisfy a demand and providers that ignore it.
func TestDemand(t *testing.T) {
	t.Parallel()
	const (
		mfa      = "urn:example:mfa"
		password = "urn:example:password"
	)
	recent := openid.Demand{MaxAge: 10 * time.Minute}
	strong := openid.Demand{ACR: []string{mfa, "urn:example:passkey"}}
	at := func(d time.Duration) func(*app, *scriptedop.JWT) {
		return func(a *app, t *scriptedop.JWT) { t.Claims["auth_time"] = a.clock.Now().Add(d).Unix() }
	}
	set := func(name string, value any) func(*app, *scriptedop.JWT) {
		return func(_ *app, t *scriptedop.JWT) { t.Claims[name] = value }
	}
	without := func(name string) func(*app, *scriptedop.JWT) {
		return func(_ *app, t *scriptedop.JWT) { delete(t.Claims, name) }
	}
	for name, tt := range map[string]struct {
		demand openid.Demand
		edit   func(*app, *scriptedop.JWT)
		want   openid.Reason
	}{
		"ID-17 nothing is asked for, and it was long ago":       {edit: at(-8 * time.Hour)},
		"ID-17 nothing is asked for, and there is no auth_time": {edit: without("auth_time")},
		"ID-17 nothing is asked for, and auth_time is 0":        {edit: set("auth_time", 0)},
		"ID-17 nothing is asked for, and auth_time is a string": {edit: set("auth_time", "1793620800")},
		"ID-17 now":                                {demand: recent, edit: at(0)},
		"ID-17 just recent enough":                 {demand: recent, edit: at(-11 * time.Minute)},
		"ID-17 just too old":                       {demand: recent, edit: at(-11*time.Minute - time.Second), want: openid.ReasonStepUpFailed},
		"ID-17 a provider's clock that is ahead":   {demand: recent, edit: at(time.Minute)},
		"ID-17 the future":                         {demand: recent, edit: at(time.Minute + time.Second), want: openid.ReasonStepUpFailed},
		"ID-17 no auth_time":                       {demand: recent, edit: without("auth_time"), want: openid.ReasonStepUpFailed},
		"ID-17 auth_time 0":                        {demand: recent, edit: set("auth_time", 0), want: openid.ReasonStepUpFailed},
		"ID-17 auth_time is a string":              {demand: recent, edit: set("auth_time", "1793620800"), want: openid.ReasonStepUpFailed},
		"ID-17 the class asked for":                {demand: strong, edit: set("acr", mfa)},
		"ID-17 the other class asked for":          {demand: strong, edit: set("acr", "urn:example:passkey")},
		"ID-17 another class":                      {demand: strong, edit: set("acr", password), want: openid.ReasonStepUpFailed},
		"ID-17 the class in capitals":              {demand: strong, edit: set("acr", "URN:EXAMPLE:MFA"), want: openid.ReasonStepUpFailed},
		"ID-17 both classes in one":                {demand: strong, edit: set("acr", mfa+" urn:example:passkey"), want: openid.ReasonStepUpFailed},
		"ID-17 no class":                           {demand: strong, want: openid.ReasonStepUpFailed},
		"ID-17 a list of classes":                  {demand: strong, edit: set("acr", []string{mfa}), want: openid.ReasonIDTokenInvalid},
		"ID-17 a class that nobody asked for":      {edit: set("acr", password)},
		"ID-17 a list that nobody asked for":       {edit: set("acr", []string{password})},
		"ID-17 both are asked for, and one is met": {demand: openid.Demand{MaxAge: time.Minute, ACR: []string{mfa}}, edit: set("acr", password), want: openid.ReasonStepUpFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{demand: tt.demand})
			if tt.edit != nil {
				a.op.EditIDToken(func(token *scriptedop.JWT) { tt.edit(a, token) })
			}
			b := a.person(t)
			if got := b.signIn(); tt.want == "" {
				b.wantSignedIn(got, "alice")
			} else {
				b.wantRefused(got, tt.want, 1, 0)
			}
		})
	}
}

// TestDemandIsTheRequests checks that the request contains the demand, and nothing that a
// link asks for.
func TestDemandIsTheRequests(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{demand: openid.Demand{MaxAge: 90 * time.Second, ACR: []string{"urn:a", "urn:b"}}})
	b := a.person(t)
	request := b.begin("max_age=86400&acr_values=urn:c")
	if got := scriptedop.Query(t, request); got.Get("max_age") != "90" || got.Get("acr_values") != "urn:a urn:b" {
		t.Errorf("AR-15 AR-07: asked for max_age %q and acr_values %q", got.Get("max_age"), got.Get("acr_values"))
	}
	// The browser can remove the demand from the request that it carries, but not from the
	// check.
	a.op.EditIDToken(func(t *scriptedop.JWT) { t.Claims["auth_time"] = a.clock.Now().Add(-time.Hour).Unix() })
	b.wantRefused(b.get(b.authorize(change(t, request, "max_age", "", "acr_values", ""))), openid.ReasonStepUpFailed, 1, 0)

	plain := newApp(t, appOptions{})
	if got := scriptedop.Query(t, plain.person(t).begin("max_age=1&acr_values=urn:c&prompt=none")); got.Has("max_age") || got.Has("acr_values") || got.Has("prompt") {
		t.Errorf("AR-07: a link changed the request to %v", got)
	}
}

// TestDemandSurvivesFormPost receives the response by form_post.
func TestDemandSurvivesFormPost(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{secure: true, demand: openid.Demand{MaxAge: time.Minute}, config: func(c *settings) { c.ResponseMode = "form_post" }})
	a.op.EditIDToken(func(t *scriptedop.JWT) { t.Claims["auth_time"] = a.clock.Now().Add(-time.Hour).Unix() })
	b := a.person(t)
	request := b.begin("")
	// The scripted provider always answers with a redirect. A browser would post the same
	// response.
	response := b.get(change(t, request, "response_mode", ""))
	if response.status != http.StatusSeeOther {
		t.Fatalf("authorization request: %d %s", response.status, response.text)
	}
	b.wantRefused(b.post(a.URL+"/callback", scriptedop.Query(t, response.location)), openid.ReasonStepUpFailed, 1, 0)
}
