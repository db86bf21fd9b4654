package authn_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// TestTokenResponse changes one member of a good token response.
func TestTokenResponse(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		member   string
		value    any // nil removes the member
		accepted bool
	}{
		"CB-17 type bearer":            {"token_type", "bearer", true},
		"CB-17 type BEARER":            {"token_type", "BEARER", true},
		"CB-17 an unknown member":      {"session_state", "x", true},
		"CB-17 no refresh token":       {"refresh_token", nil, true},
		"CB-17 no scope":               {"scope", nil, true},
		"CB-17 type DPoP":              {"token_type", "DPoP", false},
		"CB-17 type mac":               {"token_type", "mac", false},
		"CB-17 no type":                {"token_type", nil, false},
		"CB-17 type of another type":   {"token_type", 1, false},
		"CB-17 no access token":        {"access_token", nil, false},
		"CB-17 an empty access token":  {"access_token", "", false},
		"CB-17 the access token null":  {"access_token", null{}, false},
		"CB-17 the access token 1":     {"access_token", 1, false},
		"CB-17 no ID token":            {"id_token", nil, false},
		"CB-17 an empty ID token":      {"id_token", "", false},
		"CB-17 the ID token null":      {"id_token", null{}, false},
		"CB-17 the ID token 1":         {"id_token", 1, false},
		"CB-17 the ID token a list":    {"id_token", []string{"x"}, false},
		"CB-17 the ID token an object": {"id_token", map[string]any{}, false},
		"CB-17 the refresh token 1":    {"refresh_token", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.Edit(scriptedop.Token, func(response map[string]any) {
				if response[tt.member] = tt.value; tt.value == nil {
					delete(response, tt.member)
				}
			})
			b := a.person(t)
			got := b.signIn()
			if tt.accepted {
				b.wantSignedIn(got, "alice")
				return
			}
			b.wantRefused(got, authn.ReasonTokenInvalid, 1, 0)
		})
	}
	for name, tt := range map[string]struct {
		status      int
		contentType string
		accepted    bool
	}{
		"CB-17 with a character set": {200, "application/json;charset=UTF-8", true},
		"CB-17 in capitals":          {200, "Application/JSON", true},
		"CB-17 201":                  {201, "application/json", false},
		"CB-17 206":                  {206, "application/json", false},
		"CB-17 as a page":            {200, "text/html", false},
		"CB-17 as text":              {200, "text/plain", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
				recorded := httptest.NewRecorder()
				a.op.Correct(scriptedop.Token)(recorded, r)
				scriptedop.Body(tt.status, tt.contentType, recorded.Body.String())(w, r)
			})
			b := a.person(t)
			got := b.signIn()
			if tt.accepted {
				b.wantSignedIn(got, "alice")
				return
			}
			b.wantRefused(got, authn.ReasonTokenInvalid, 1, 0)
		})
	}
}

// TestAccessTokenLifetime asks for the profile after a sign-in: a token that may have
// expired is replaced first.
func TestAccessTokenLifetime(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		expiresIn any
		after     time.Duration
		refreshed bool
	}{
		"CB-18 an hour, at once":        {3600, 0, false},
		"CB-18 an hour, as text":        {"3600", 0, false},
		"CB-18 an hour, nearly over":    {3600, time.Hour - time.Minute, false},
		"CB-18 an hour, all but over":   {3600, time.Hour - time.Minute + time.Second, true},
		"CB-18 with an exponent":        {rawJSON("1e3"), 0, false},
		"CB-18 with an exponent, over":  {rawJSON("1e3"), 1000 * time.Second, true},
		"CB-18 a fraction":              {3600.5, 0, false},
		"CB-18 ever so long":            {rawJSON("1e300"), 0, false},
		"CB-18 thirty years":            {1_000_000_000, 0, false},
		"CB-18 missing":                 {nil, 0, true},
		"CB-18 null":                    {null{}, 0, true},
		"CB-18 zero":                    {0, 0, true},
		"CB-18 negative":                {-3600, 0, true},
		"CB-18 words":                   {"an hour", 0, true},
		"CB-18 an object":               {map[string]any{}, 0, true},
		"CB-18 a number beyond numbers": {rawJSON("1e400"), 0, true},
		"CB-18 seconds":                 {40, 30 * time.Second, false},
		"CB-18 seconds, all but over":   {40, 31 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.Edit(scriptedop.Token, func(response map[string]any) {
				if response["expires_in"] = tt.expiresIn; tt.expiresIn == nil {
					delete(response, "expires_in")
				}
			})
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.clock.Move(tt.after)
			if got := b.post(a.URL+"/refresh", nil); got.status != http.StatusOK {
				t.Fatalf("refused: %s", got.text)
			}
			if got := a.op.Last(scriptedop.Token).Form.Get("grant_type") == "refresh_token"; got != tt.refreshed {
				t.Errorf("refreshed: %t, want %t", got, tt.refreshed)
			}
		})
	}
}
