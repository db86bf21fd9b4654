package routes

import (
	"log/slog"
	"net/http"
	"time"

	"latchkey/authn"
)

// describeProvider covers what a person can only wait for.
func describeProvider(reason authn.Reason) failure {
	f := failure{status: http.StatusBadGateway, level: slog.LevelError, remedy: startOver}
	switch reason {
	case authn.ReasonProviderUnreachable:
		f.status, f.level, f.after = http.StatusServiceUnavailable, slog.LevelWarn, 10*time.Second
		f.heading, f.text = "The sign-in service cannot be reached", "It does not answer at the moment. Wait a little and try again."
	case authn.ReasonStoreUnavailable:
		f.status, f.after = http.StatusServiceUnavailable, 5*time.Second
		f.heading, f.text = "This app cannot look up sessions just now", "You are not signed out. Wait a little and try again."
		f.remedy = reload
	case authn.ReasonUserInfoFailed, authn.ReasonRefreshFailed:
		f.level = slog.LevelWarn
		f.heading, f.text = "The profile could not be refreshed", "The sign-in service did not give an answer. What you see is what was known before."
	case authn.ReasonUserInfoRequired:
		f.level = slog.LevelWarn
		f.heading, f.text = "Your profile did not arrive", "The sign-in service confirmed who you are and then gave no profile, which this app needs. You are not signed in; try again in a moment."
	case authn.ReasonProviderMisconfigured:
		f.status = http.StatusServiceUnavailable
		f.heading, f.text = "Signing in is not set up right", "The sign-in service and this app do not fit together. Tell this app's operator the reference below: the cause is in the log."
	default:
		// Whatever was wrong with the answer, a token or its signature, the person
		// can do nothing about it, and an attacker learns nothing from it.
		f.heading, f.text = "The sign-in could not be verified", "The sign-in service's answer did not pass our checks, so you were not signed in. Try again; if it happens again, tell this app's operator the reference below."
	}
	return f
}

// describeDeclined says the provider's refusals (RFC 6749 section 4.1.2.1).
func describeDeclined(code string) failure {
	f := failure{status: http.StatusForbidden, level: slog.LevelInfo, remedy: startOver}
	switch code {
	case "access_denied":
		f.heading, f.text = "You were not signed in", "The sign-in was cancelled or not allowed. You can try again, with another account if you have one."
	case "login_required", "interaction_required", "account_selection_required", "consent_required":
		f.status = http.StatusBadRequest
		f.heading, f.text = "The sign-in service needs you", "It could not sign you in without asking something. Try again."
	case "temporarily_unavailable", "server_error":
		f.status, f.level, f.after = http.StatusServiceUnavailable, slog.LevelWarn, 10*time.Second
		f.heading, f.text = "The sign-in service has a problem", "It answered that it cannot sign anybody in right now. Wait a little and try again."
	default:
		f.status, f.level = http.StatusBadGateway, slog.LevelError
		f.heading, f.text = "The sign-in service refused", "It did not accept this app's request. Tell this app's operator the reference below: the cause is in the log."
	}
	return f
}
