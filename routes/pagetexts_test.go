package routes

import (
	"cmp"
	"maps"
	"slices"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/views"
	"latchkey/views/messages"
)

// TestWordsHaveTexts checks that each failure has texts, that each text has a failure, and that the
// same holds for the words that say why a session ended, and for the claims that have a label.
func TestWordsHaveTexts(t *testing.T) {
	t.Parallel()
	want := map[string]bool{cancelled.name: true, operatorToken.name: true, "refused": true}
	for reason, f := range failures {
		want[cmp.Or(f.name, reason)] = true
	}
	for _, f := range declined {
		want[f.name] = true
	}
	words := map[string]bool{expired: true, otherTab: true}
	for _, cause := range []authn.Cause{authn.CauseElsewhere, authn.CauseProvider, authn.CauseRefresh, authn.CauseTooMany, authn.CauseOperator, authn.CauseProduct} {
		words[because(cause)] = true
	}
	english := messages.English()
	if got, want := slices.Sorted(maps.Keys(english.Failures)), slices.Sorted(maps.Keys(want)); !slices.Equal(got, want) {
		t.Errorf("en.json has texts for\n%q, want\n%q", got, want)
	}
	if got, want := slices.Sorted(maps.Keys(english.Ended)), slices.Sorted(maps.Keys(words)); !slices.Equal(got, want) {
		t.Errorf("en.json says why a session ended for %q, want %q", got, want)
	}
	if got, want := slices.Sorted(maps.Keys(english.Claims.Labels)), slices.Sorted(maps.Keys(claimRanks)); !slices.Equal(got, want) {
		t.Errorf("en.json has labels for the claims %q, want %q", got, want)
	}
}

// TestForbiddenText checks the sentence about every kind of rule.
func TestForbiddenText(t *testing.T) {
	t.Parallel()
	a, _ := newApp(t)
	adult := authn.Check("age", "at least 18", nil)
	for want, rule := range map[string]authn.Rule{
		"This page needs the admin role.":                                     administrator(),
		"This page needs the staff group.":                                    authn.Includes("groups", "staff"),
		"This page needs red in your teams.":                                  authn.Includes("https://app.example/teams", "red"),
		"This page needs your plan to be equal to pro.":                       authn.Equals("plan", "pro"),
		"This page needs your age to be at least 18.":                         adult,
		"This page needs your email to be a verified address at example.com.": authn.EmailDomain("example.com"),
		"This page needs the auditor role or your age to be at least 18.":     authn.AnyOf(authn.Includes(roles, "auditor"), adult),
		"This page needs access that no account has.":                         authn.AnyOf(),
	} {
		f := a.describe(messages.English(), &claimNeeded{rule: rule})
		if f.heading != "You don't have access" || f.text != want {
			t.Errorf("%q %q, want %q", f.heading, f.text, want)
		}
	}
	german := messages.NewMatcher().Match([]string{"de"})
	rule := authn.AnyOf(administrator(), authn.Equals("plan", "pro"), authn.EmailDomain("example.com"))
	want := "Diese Seite erfordert die Rolle admin oder für plan: genau pro oder für email: eine bestätigte Adresse bei example.com."
	if got := a.describe(german, &claimNeeded{rule: rule}).text; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestPendingAction checks that the question about a saved form names what the form does.
func TestPendingAction(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"/sessions/end-others": "Sign out all other devices?", "/unknown": "Continue?"} {
		if got := (views.ResumeProps{Pending: pendingAction(messages.English(), path)}).Heading(messages.English()); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// TestDeviceName checks what pages call a device, in both languages.
func TestDeviceName(t *testing.T) {
	t.Parallel()
	german := messages.NewMatcher().Match([]string{"de"})
	for _, tt := range []struct {
		device          authn.Device
		english, german string
	}{
		{authn.Device{Browser: "Firefox", System: "Linux"}, "Firefox on Linux", "Firefox auf Linux"},
		{authn.Device{Browser: "Chrome", System: authn.AndroidTablet}, "Chrome on Android tablet", "Chrome auf Android-Tablet"},
		{authn.Device{Browser: "curl"}, "curl", "curl"},
		{authn.Device{System: "Windows"}, "Unknown browser on Windows", "Unbekannter Browser auf Windows"},
		{authn.Device{}, "Unknown device", "Unbekanntes Gerät"},
	} {
		if got, want := [2]string{deviceName(messages.English(), tt.device), deviceName(german, tt.device)}, [2]string{tt.english, tt.german}; got != want {
			t.Errorf("%v is %q, want %q", tt.device, got, want)
		}
		if got := tt.device.String(); got != tt.english {
			t.Errorf("%v is %q to operators, want %q", tt.device, got, tt.english)
		}
	}
}

// TestTooSoonText checks the time to wait.
func TestTooSoonText(t *testing.T) {
	t.Parallel()
	a, _ := newApp(t)
	for wait, want := range map[time.Duration]string{
		42 * time.Second:        "Try again in 42 seconds.",
		1500 * time.Millisecond: "Try again in 2 seconds.",
		time.Second:             "Try again in 1 second.",
		time.Millisecond:        "Try again in 1 second.",
	} {
		if got := a.describe(messages.English(), &authn.TooSoonError{Wait: wait}).text; got != "The sign-in service limits how often you can do this. "+want {
			t.Errorf("%s: %q, want %q", wait, got, want)
		}
	}
}
