package routes

import (
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/views"
)

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
		f := a.describe(&claimNeeded{rule: rule})
		if f.heading != "You don't have access" || f.text != want {
			t.Errorf("%q %q, want %q", f.heading, f.text, want)
		}
	}
}

// TestPendingAction checks that the question about a saved form names what the form does.
func TestPendingAction(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"/sessions/end-others": "Sign out all other devices?", "/unknown": "Continue?"} {
		if got := (views.ResumeProps{Pending: pendingAction(path)}).Heading(); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
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
		if got := a.describe(&authn.TooSoonError{Wait: wait}).text; got != "The sign-in service limits how often you can do this. "+want {
			t.Errorf("%s: %q, want %q", wait, got, want)
		}
	}
}
