package routes

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
)

// afterSignIn is where a person goes who was not going anywhere.
const afterSignIn = "/dashboard"

// localPage returns a path of the app that makes sense to return to after signing
// in, and afterSignIn for anything else.
func localPage(raw string) string {
	page := authn.LocalPath(raw)
	path, _, _ := strings.Cut(page, "?")
	switch strings.TrimSuffix(path, "/") {
	case "", "/login", "/callback", "/logout", "/signed-out":
		return afterSignIn
	default:
		return page
	}
}

// loginURL links to a sign-in that comes back to a page.
func loginURL(returnTo string) string {
	if returnTo == "" || returnTo == afterSignIn {
		return "/login"
	}
	return "/login?" + url.Values{"return_to": {returnTo}}.Encode()
}

// switchURL links to a sign-in, perhaps as somebody else, that comes back to a page.
func switchURL(returnTo string) string {
	return "/login?" + url.Values{"return_to": {returnTo}, "switch": {"1"}}.Encode()
}

// login starts a sign-in and sends the browser to the provider.
func (a *App) login(c echo.Context) error {
	r := c.Request()
	query := c.QueryParams()
	returnTo := query.Get("return_to")
	if query.Has("again") && !a.RelyingParty.Restarted(r) {
		return errNoCookies
	}
	if query.Has("iss") {
		target, err := a.thirdPartyTarget(query)
		if err != nil {
			return err
		}
		returnTo = target
	}
	return a.begin(c, authn.AuthorizationRequest{
		ReturnTo: localPage(returnTo), Link: query, SwitchAccount: query.Get("switch") == "1",
	})
}

// begin sends the browser to the provider.
func (a *App) begin(c echo.Context, request authn.AuthorizationRequest) error {
	if !authn.IsNavigation(c.Request()) {
		return &authn.Error{Reason: authn.ReasonNotNavigation}
	}
	location, err := a.RelyingParty.Begin(c.Response(), c.Request(), request)
	if err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, location)
}

// thirdPartyTarget checks a sign-in that another site starts (OpenID Connect Core 1.0
// section 4) and returns where it is to end: the issuer must be ours, and so must the
// target.
func (a *App) thirdPartyTarget(query url.Values) (string, error) {
	if !a.RelyingParty.IsIssuer(query.Get("iss")) || len(query["iss"]) > 1 {
		return "", errOtherIssuer
	}
	target := query.Get("target_link_uri")
	if target == "" {
		return "", nil
	}
	page, ok := strings.CutPrefix(target, a.BaseURL.String())
	if !ok || (page != "" && authn.LocalPath(page) != page) {
		return "", errOtherTarget
	}
	return page, nil
}

// callback finishes a sign-in.
func (a *App) callback(c echo.Context) error {
	r := c.Request()
	response, err := a.authorizationResponse(c)
	if err != nil {
		return err
	}
	in, err := a.RelyingParty.Complete(c.Response(), r, response)
	if err != nil {
		return a.heal(c, err, response)
	}
	s, err := a.Sessions.Start(c.Response(), r, in)
	if err != nil {
		return err
	}
	a.Log.InfoContext(r.Context(), "signed in", "session", s.LogID(), "person", s.PersonID(), "issuer", s.Identity.Issuer, "sign_in", in.LogID())
	return c.Redirect(http.StatusSeeOther, in.ReturnTo)
}

// authorizationResponse reads the response from where it was asked to be, and from
// nowhere else.
func (a *App) authorizationResponse(c echo.Context) (url.Values, error) {
	r := c.Request()
	if !a.FormPost {
		return c.QueryParams(), nil
	}
	if r.Method != http.MethodPost || r.URL.RawQuery != "" {
		return nil, &authn.Error{Reason: authn.ReasonResponseMalformed, Err: errors.New("the response did not come as a form, or not as a form alone")}
	}
	return formValues(c)
}

// formValues returns the form in a request's body, without what the query says.
func formValues(c echo.Context) (url.Values, error) {
	r := c.Request()
	mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(mediaType), "application/x-www-form-urlencoded") {
		return nil, echo.ErrUnsupportedMediaType
	}
	if err := r.ParseForm(); err != nil {
		return nil, echo.ErrBadRequest.SetInternal(errors.New("the form cannot be read"))
	}
	return r.PostForm, nil
}

// heal makes the best of a callback that is stale, replayed or lost: the back button, a
// double click, a restored tab, a bookmark. A person who is signed in goes where they
// were going; for another the sign-in starts once more; only after that there is a page
// that says what happened.
func (a *App) heal(c echo.Context, err error, response url.Values) error {
	returnTo := afterSignIn
	if e, ok := errors.AsType[*authn.Error](err); ok && e.ReturnTo != "" {
		returnTo = e.ReturnTo
	}
	stale := []authn.Reason{authn.ReasonTransactionMissing, authn.ReasonTransactionExpired, authn.ReasonTransactionUsed}
	if current(c) != nil && slices.Contains(stale, authn.ReasonOf(err)) {
		return c.Redirect(http.StatusSeeOther, returnTo)
	}
	if a.RelyingParty.MayRestart(c.Response(), c.Request(), err, response) {
		a.Log.InfoContext(c.Request().Context(), "sign-in started again", "reason", authn.ReasonOf(err))
		return c.Redirect(http.StatusSeeOther, "/login?"+url.Values{"again": {"1"}, "return_to": {returnTo}}.Encode())
	}
	return err
}

// confirmSignOut asks. A GET must not sign anybody out: any page can make a browser
// send one.
func (a *App) confirmSignOut(c echo.Context) error {
	if current(c) == nil {
		return c.Redirect(http.StatusSeeOther, "/signed-out")
	}
	return a.render(c, http.StatusOK, views.ConfirmSignOut(a.shell(c, "Sign out")))
}

// signOut ends the session here, first and whatever the provider does, and then at
// the provider.
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
	// Not "cookies": that would clear a sign-in that is under way in another tab.
	w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	if s != nil {
		a.RelyingParty.RevokeTokens(r.Context(), s)
		if location := a.RelyingParty.EndSessionURL(w, s); location != "" {
			return a.leave(c, location)
		}
	}
	return c.Redirect(http.StatusSeeOther, "/signed-out")
}

// leave sends the browser to the provider's sign-out. Where that goes on to another site,
// which the page's form-action cannot name, a redirect would be stopped half-way: browsers
// apply form-action to all redirects of a form. A page that moves on by itself is no
// redirect.
func (a *App) leave(c echo.Context, location string) error {
	if !a.FederatedLogout {
		return c.Redirect(http.StatusSeeOther, location)
	}
	c.Response().Header().Set("Refresh", "0; url="+location)
	shell := a.shell(c, "Signing out")
	shell.Person = nil // the session has ended
	return a.render(c, http.StatusOK, views.SigningOut(shell, location))
}
