package routes

import (
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
)

// confirmSignOut asks. A GET must not sign anyone out: any page can make a browser send one.
func (a *App) confirmSignOut(c echo.Context) error {
	if current(c) == nil {
		return c.Redirect(http.StatusSeeOther, "/signed-out")
	}
	return a.render(c, http.StatusOK, views.ConfirmSignOut(a.shell(c, "Sign out")))
}

// signOut ends the session here, whatever the provider does, and then at the provider.
func (a *App) signOut(c echo.Context) error {
	r, w := c.Request(), c.Response()
	s := current(c)
	if s != nil {
		if err := a.Sessions.End(r.Context(), s, authn.CauseSignedOut); err != nil {
			return err
		}
		a.Log.InfoContext(r.Context(), "signed out", "session", s.LogID(), "issuer", s.Identity.Issuer)
	}
	a.Sessions.Clear(w)
	// Without "cookies", which would clear a sign-in that is under way in another tab.
	w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	if s != nil {
		a.RelyingParty.RevokeTokens(r.Context(), s)
		if location := a.RelyingParty.EndSessionURL(w, s); location != "" {
			return a.leave(c, location)
		}
	}
	return c.Redirect(http.StatusSeeOther, "/signed-out")
}

// leave sends the browser to the provider's sign-out. If that goes on to another site, which the
// page's form-action cannot name, browsers would block a redirect half-way: they apply form-action
// to all redirects of a form. A page that moves on by itself is no redirect.
func (a *App) leave(c echo.Context, location string) error {
	if !a.FederatedLogout {
		return c.Redirect(http.StatusSeeOther, location)
	}
	c.Response().Header().Set("Refresh", "0; url="+location)
	shell := a.shell(c, "Signing out")
	shell.Person = nil // the session has ended
	return a.render(c, http.StatusOK, views.SigningOut(shell, location))
}

// sessionEnded says that the session that a request's cookie names was ended, and why.
type sessionEnded struct{ because string }

func (e *sessionEnded) Error() string { return "routes: the session was ended: " + e.because }

const (
	// expired is the word for a session that ended by its age.
	expired = "expired"
	// otherTab is the word of pages that are open when their person signs out on another.
	otherTab = "tab"
)

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

// partingWord is that of an open page, whose session has ended under its person's eyes: it
// always needs an explanation.
func partingWord(cause authn.Cause) string {
	switch cause {
	case authn.CauseUnknown:
		return expired
	case authn.CauseSignedOut:
		return otherTab
	default:
		return because(cause)
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
		return "The sign-in service no longer vouches for this session."
	case "limit":
		return "You have signed in on so many devices that the session not used for longest was ended."
	case otherTab:
		return "You signed out in another tab or window of this browser."
	case expired:
		return "Your session has ended by itself, as it does after a while."
	default:
		return ""
	}
}

// signedOutURL is the page that says why, and from where signing in leads back.
func signedOutURL(because string, returnTo authn.ReturnPath) string {
	query := url.Values{}
	if because != "" {
		query.Set("because", because)
	}
	if destination(returnTo) != afterSignIn {
		query.Set("return_to", returnTo.String())
	}
	if len(query) == 0 {
		return "/signed-out"
	}
	return "/signed-out?" + query.Encode()
}

// signedOut is where the provider sends the browser back, and where a tab goes whose session
// was ended. A wrong state, or none, makes no difference but in what the page can promise. A
// tab that was sent here with a reason has not been at the provider; another one may be there.
func (a *App) signedOut(c echo.Context) error {
	atProvider := !c.QueryParams().Has("because") && a.RelyingParty.Returned(c.Response(), c.Request())
	if current(c) != nil {
		return c.Redirect(http.StatusSeeOther, afterSignIn)
	}
	return a.render(c, http.StatusOK, views.SignedOut(a.shell(c, "Signed out"), views.SignedOutProps{
		AtProvider: atProvider, Reason: explanation(c.QueryParam("because")),
		LoginURL: loginURL(parseReturnPath(c.QueryParam("return_to"))),
	}))
}
