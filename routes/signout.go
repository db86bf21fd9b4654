package routes

import (
	"cmp"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
)

// confirmSignOut asks whether to sign out. A GET must not sign anyone out, because any page can make
// a browser send one.
func (a *App) confirmSignOut(c echo.Context) error {
	if current(c) == nil {
		return c.Redirect(http.StatusSeeOther, "/signed-out")
	}
	return a.render(c, http.StatusOK, views.ConfirmSignOut(a.shell(c, texts(c).Title.SignOut)))
}

// signOut ends the session here, and then sends the browser to the provider to end it there. It ends
// here even if the provider fails.
func (a *App) signOut(c echo.Context) error {
	r, w := c.Request(), c.Response()
	s, proven := current(c), true
	if s == nil {
		// A person who is told that they are signed out is signed out, even if their browser could not
		// prove the session's key.
		var err error
		if s, err = a.Sessions.LoadToEnd(r); err != nil {
			return err
		}
		proven = false
	}
	if s != nil {
		if err := a.Sessions.End(r.Context(), s, authn.CauseSignedOut); err != nil {
			return err
		}
		a.Log.InfoContext(r.Context(), "signed out", "event", authn.EventSignOut, "session", s.LogID(), "person", s.PersonID(), "issuer", s.Identity.Issuer)
	}
	if s != nil || a.Sessions.SentCookie(r) {
		a.Sessions.Clear(w)
	}
	// Not "cookies", which would cancel a sign-in in another tab. Not "cache": no page of this app is
	// stored, and Chromium searches its whole cache, which takes seconds if other sites filled it.
	w.Header().Set("Clear-Site-Data", `"storage"`)
	rp := a.RelyingParties.First()
	if s != nil {
		rp = a.RelyingParties.Of(s.Identity.Issuer)
		rp.RevokeTokens(r.Context(), s)
	}
	location := ""
	if proven {
		location = rp.EndSessionURL(w, s)
	} else {
		// What tells the provider whose session it is names the person, and anyone who has a copy of the
		// cookie could read it.
		rp.SignedOutHere(w)
	}
	if location == "" && !isHTMX(r) {
		return c.Redirect(http.StatusSeeOther, rp.Provider().PostLogoutRedirectURL())
	}
	location = cmp.Or(location, rp.Provider().PostLogoutRedirectURL())
	return a.moveOn(c, http.StatusOK, views.MovingOnProps{Heading: texts(c).SignOut.Moving, Text: texts(c).SignOut.MovingText, URL: location})
}

// moveOn answers a form with a page that moves on by itself to where the provider is next. A redirect
// would not do: Chromium applies form-action to every redirect that follows a form, and the provider
// may redirect on to a site that form-action cannot name, such as that of the provider behind it.
//
// htmx gets a header that makes it leave the page: it would put this one into a part of it.
func (a *App) moveOn(c echo.Context, status int, props views.MovingOnProps) error {
	if isHTMX(c.Request()) {
		c.Response().Header().Set("HX-Redirect", props.URL)
		return c.NoContent(status)
	}
	shell := a.frame(props.Heading) // of nobody, because the session may have ended
	// The page says where, not a Refresh header: with an ID token in the address, the headers would be larger
	// than many proxies accept.
	shell.MovesTo = props.URL
	return a.render(c, status, views.MovingOn(shell, props))
}

// sessionEnded says that the session of a request's cookie was ended, and why.
type sessionEnded struct{ because string }

func (e *sessionEnded) Error() string { return "routes: the session was ended: " + e.because }

const (
	// expired is the word for a session that reached its idle or absolute timeout.
	expired = "expired"
	// otherTab is the word for pages that are open when the person signs out in another tab.
	otherTab = "tab"
)

// because returns the word that tells, in an address, why a session ended. It returns "" if the
// person needs no explanation: they signed out themselves, or are signed in again.
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
	case authn.CauseOperator:
		return "operator"
	case authn.CauseProduct:
		return "product"
	default:
		return ""
	}
}

// endReason is like because, for a page that is open when the session ends. Such a page always
// needs an explanation.
func endReason(cause authn.Cause) string {
	switch cause {
	case authn.CauseUnknown:
		return expired
	case authn.CauseSignedOut:
		return otherTab
	default:
		return because(cause)
	}
}

// signedOutURL returns the address of the page that says why a session ended and offers to sign in
// again, back to a page.
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

// signedOut is the page that a tab opens when its session has ended. With AUTH0_LOGOUT_URL it can also
// be the page that the provider sends the browser back to, instead of the home page. A tab that comes
// with a reason does not use up the state, because another tab may be at the provider.
func (a *App) signedOut(c echo.Context) error {
	var atProvider bool
	if !c.QueryParams().Has("because") {
		_, atProvider = a.RelyingParties.First().Returned(c.Response(), c.Request())
	}
	returnTo := parseReturnPath(c.QueryParam("return_to"))
	if current(c) != nil {
		return c.Redirect(http.StatusSeeOther, destination(returnTo))
	}
	return a.render(c, http.StatusOK, views.SignedOut(a.shell(c, texts(c).Title.SignedOut), views.SignedOutProps{
		AtProvider: atProvider, Reason: texts(c).Ended[c.QueryParam("because")],
		LoginURL: loginURL(returnTo),
	}))
}
