package routes

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// afterSignIn is the page after a sign-in that has no return path.
const afterSignIn = "/dashboard"

// parseReturnPath parses a return path. It returns the zero ReturnPath if the path is not a page of
// this app, or is one that makes no sense after a sign-in.
func parseReturnPath(raw string) authn.ReturnPath {
	page, _ := authn.ParseReturnPath(raw)
	path, _, _ := strings.Cut(page.String(), "?")
	switch strings.TrimSuffix(path, "/") {
	case "", "/login", "/callback", "/logout", "/signed-out":
		return authn.ReturnPath{}
	default:
		return page
	}
}

// destination returns the page's path, or afterSignIn if there is no page.
func destination(page authn.ReturnPath) string {
	if page.IsZero() {
		return afterSignIn
	}
	return page.String()
}

// loginURL returns the address of a sign-in that returns to a page.
func loginURL(page authn.ReturnPath) string {
	if destination(page) == afterSignIn {
		return "/login"
	}
	return "/login?" + url.Values{"return_to": {page.String()}}.Encode()
}

// switchURL returns the address of a sign-in that lets the person choose another account and then
// returns to a page.
func switchURL(page authn.ReturnPath) string {
	return "/login?" + url.Values{"return_to": {destination(page)}, "switch": {"1"}}.Encode()
}

// login starts a sign-in and sends the browser to the provider.
func (a *App) login(c echo.Context) error {
	r := c.Request()
	query := c.QueryParams()
	returnTo := parseReturnPath(query.Get("return_to"))
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
	return a.begin(c, authn.SignInRequest{
		ReturnTo: returnTo, Link: query, SwitchAccount: query.Get("switch") == "1",
	})
}

// begin sends the browser to the provider.
func (a *App) begin(c echo.Context, request authn.SignInRequest) error {
	if !authn.IsNavigation(c.Request()) {
		return &openid.Error{Reason: authn.ReasonNotNavigation}
	}
	location, err := a.RelyingParty.Begin(c.Response(), c.Request(), request)
	if err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, location)
}

// thirdPartyTarget checks a sign-in that another site starts (OpenID Connect Core 1.0 section 4) and
// returns its return path. The issuer must be the configured one, and the target a page of this app.
func (a *App) thirdPartyTarget(query url.Values) (authn.ReturnPath, error) {
	if query.Get("iss") != a.Provider.Issuer() || len(query["iss"]) > 1 {
		return authn.ReturnPath{}, errOtherIssuer
	}
	target := query.Get("target_link_uri")
	if target == "" || target == a.BaseURL.String() {
		return authn.ReturnPath{}, nil
	}
	page, ok := strings.CutPrefix(target, a.BaseURL.String())
	if _, local := authn.ParseReturnPath(page); !ok || !local {
		return authn.ReturnPath{}, errOtherTarget
	}
	return parseReturnPath(page), nil
}

// callback handles the authorization response and starts a session.
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
	if err := a.limitPerson(in); err != nil {
		return err
	}
	s, err := a.Sessions.Start(c.Response(), r, in)
	if err != nil {
		return err
	}
	a.Log.InfoContext(r.Context(), "signed in", "event", authn.EventSignIn, "session", s.LogID(), "person", s.PersonID(), "issuer", s.Identity.Issuer, "sign_in", in.LogID(), "step_up", in.StepUp)
	a.offerDevice(c, s)
	return c.Redirect(http.StatusSeeOther, destination(in.ReturnTo))
}

// authorizationResponse returns the parameters of the response. It reads them only from the place
// that the response mode defines.
func (a *App) authorizationResponse(c echo.Context) (url.Values, error) {
	r := c.Request()
	if !a.Provider.FormPost() {
		return c.QueryParams(), nil
	}
	if r.Method != http.MethodPost || r.URL.RawQuery != "" {
		return nil, &openid.Error{Reason: openid.ReasonResponseMalformed, Err: errors.New("the response mode is form_post, but the response is not a form or has a query too")}
	}
	return formValues(c)
}

// formValues returns the form in a request's body, without the parameters of the query.
func formValues(c echo.Context) (url.Values, error) {
	r := c.Request()
	mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(mediaType), "application/x-www-form-urlencoded") {
		return nil, echo.ErrUnsupportedMediaType
	}
	if err := r.ParseForm(); err != nil {
		return nil, echo.ErrBadRequest.SetInternal(errors.New("the form is malformed"))
	}
	return r.PostForm, nil
}

// heal recovers from a callback that is stale, replayed or lost because of the back button, a double
// click, a restored tab, a bookmark, or a program that opened the link before the browser did. If the
// person is signed in, it redirects to the return path.
// Otherwise it starts the sign-in again, once. If that fails too, a page says what happened.
func (a *App) heal(c echo.Context, err error, response url.Values) error {
	returnTo := afterSignIn
	if e, ok := errors.AsType[*authn.SignInError](err); ok {
		returnTo = destination(e.ReturnTo)
	}
	if current(c) != nil && a.RelyingParty.Stale(c.Request(), err, response) {
		return c.Redirect(http.StatusSeeOther, returnTo)
	}
	if a.RelyingParty.MayRestart(c.Response(), c.Request(), err, response) {
		a.Log.InfoContext(c.Request().Context(), "sign-in started again", "event", authn.EventSignInFailed, "reason", openid.ReasonOf(err))
		return c.Redirect(http.StatusSeeOther, "/login?"+url.Values{"again": {"1"}, "return_to": {returnTo}}.Encode())
	}
	return err
}
