package routes

import (
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
)

// expired is the word for a session that ended by its age.
const expired = "expired"

// because names in an address why somebody was signed out who did not ask for it.
// Those who did, and those who are signed in again, need no explanation.
func because(cause authn.Cause) string {
	switch cause {
	case authn.CauseElsewhere:
		return "elsewhere"
	case authn.CauseProvider:
		return "provider"
	case authn.CauseRefresh:
		return "refresh"
	case authn.CauseTooMany:
		return "limit"
	default:
		return ""
	}
}

// explanation is what the page says of it. An address with any other word explains nothing:
// anybody can make one.
func explanation(because string) string {
	switch because {
	case "elsewhere":
		return "You ended this session from another one of yours."
	case "provider":
		return "The sign-in service ended your session: you signed out there, or its operator did it."
	case "refresh":
		return "The sign-in service no longer vouches for this session. Signing in again begins a new one."
	case "limit":
		return "You have signed in on so many devices that the session not used for longest was ended."
	case expired:
		return "Your session has ended by itself, as it does after a while."
	default:
		return ""
	}
}

// signedOutURL is the page that says why, and from where signing in leads back.
func signedOutURL(because, returnTo string) string {
	query := url.Values{}
	if because != "" {
		query.Set("because", because)
	}
	if returnTo != "" && returnTo != afterSignIn {
		query.Set("return_to", returnTo)
	}
	if len(query) == 0 {
		return "/signed-out"
	}
	return "/signed-out?" + query.Encode()
}

// signedOut is where the provider sends the browser back, and where a tab goes whose session
// was ended. A wrong state, or none, makes no difference but in what the page can promise.
func (a *App) signedOut(c echo.Context) error {
	atProvider := a.RelyingParty.Returned(c.Response(), c.Request())
	if current(c) != nil {
		return c.Redirect(http.StatusSeeOther, afterSignIn)
	}
	return a.render(c, http.StatusOK, views.SignedOut(a.shell(c, "Signed out"), views.SignedOutProps{
		AtProvider: atProvider, Reason: explanation(c.QueryParam("because")),
		LoginURL: loginURL(localPage(c.QueryParam("return_to"))),
	}))
}
