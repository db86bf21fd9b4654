package routes

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// callbackPath is where authorization responses arrive; see routeCallback.
const callbackPath = "/callback"

// isCallback reports whether a path is one of those that routeCallback may route.
func isCallback(path string) bool {
	return path == callbackPath || strings.HasPrefix(path, callbackPath+"/")
}

// afterSignIn is the page after a sign-in that has no return path.
const afterSignIn = "/dashboard"

// parseReturnPath parses a return path. It returns the zero ReturnPath if the path is not a page of
// this app, or is one that makes no sense after a sign-in.
func parseReturnPath(raw string) authn.ReturnPath {
	page, _ := authn.ParseReturnPath(raw)
	path, _, _ := strings.Cut(page.String(), "?")
	switch path = strings.TrimSuffix(path, "/"); {
	case slices.Contains([]string{"", "/login", "/logout", "/signed-out"}, path), isCallback(path):
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

// login starts a sign-in and sends the browser to the provider, or lets the person choose one first.
func (a *App) login(c echo.Context) error {
	r := c.Request()
	query := c.QueryParams()
	returnTo := parseReturnPath(query.Get("return_to"))
	if query.Has("again") && !a.RelyingParties.First().Restarted(r) {
		return a.checkCookies(c, query)
	}
	if query.Has("iss") {
		target, err := a.thirdPartyTarget(query)
		if err != nil {
			return err
		}
		returnTo = target
	}
	rp := a.pick(c)
	if rp == nil {
		return a.chooseProvider(c)
	}
	return a.begin(c, rp, authn.SignInRequest{
		ReturnTo: returnTo, Link: query, SwitchAccount: query.Get("switch") == "1", Again: query.Has("again"),
	})
}

// checkCookies handles a sign-in that was started again without the cookie of that. Either the browser
// keeps no cookies, or the person has loaded the address later. Another request shows which.
func (a *App) checkCookies(c echo.Context, query url.Values) error {
	const secondTime = "2"
	if query.Get("again") == secondTime {
		return errNoCookies
	}
	a.RelyingParties.First().MarkRestarted(c.Response())
	query.Set("again", secondTime)
	return c.Redirect(http.StatusSeeOther, "/login?"+query.Encode())
}

// begin sends the browser to the provider of a relying party.
func (a *App) begin(c echo.Context, rp *authn.RelyingParty, request authn.SignInRequest) error {
	setRelyingParty(c, rp)
	if !authn.IsNavigation(c.Request()) {
		return &openid.Error{Reason: authn.ReasonNotNavigation}
	}
	location, err := rp.Begin(c.Response(), c.Request(), request)
	if err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, location)
}

// thirdPartyTarget checks a sign-in that another site starts (OpenID Connect Core 1.0 section 4) and
// returns its return path. The issuer must be a configured one, and the target a page of this app.
func (a *App) thirdPartyTarget(query url.Values) (authn.ReturnPath, error) {
	if rp := a.RelyingParties.StartedBy(query.Get("iss")); rp == nil || len(query["iss"]) > 1 {
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

// callback returns the handler of the authorization responses of a provider.
func (a *App) callback(rp *authn.RelyingParty) echo.HandlerFunc {
	return func(c echo.Context) error {
		setRelyingParty(c, rp)
		return a.complete(c, rp)
	}
}

// complete handles the authorization response and starts a session.
func (a *App) complete(c echo.Context, rp *authn.RelyingParty) error {
	r := c.Request()
	response, err := authorizationResponse(c, rp)
	if err != nil {
		return err
	}
	in, err := rp.Complete(c.Response(), r, response)
	if err != nil {
		return a.heal(c, rp, err, response)
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
func authorizationResponse(c echo.Context, rp *authn.RelyingParty) (url.Values, error) {
	r := c.Request()
	if !rp.Provider().FormPost() {
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
		return nil, echo.ErrBadRequest.WithInternal(errors.New("the form is malformed"))
	}
	return r.PostForm, nil
}

// heal recovers from a callback that is stale, replayed or lost because of the back button, a double
// click, a restored tab, a bookmark, or a program that opened the link before the browser did. If the
// person is signed in, it redirects to the return path.
// Otherwise it starts the sign-in again, once. If that fails too, a page says what happened.
func (a *App) heal(c echo.Context, rp *authn.RelyingParty, err error, response url.Values) error {
	returnTo := afterSignIn
	if e, ok := errors.AsType[*authn.SignInError](err); ok {
		returnTo = destination(e.ReturnTo)
	}
	if current(c) != nil && rp.Stale(c.Request(), err, response) {
		return c.Redirect(http.StatusSeeOther, returnTo)
	}
	if rp.MayRestart(c.Response(), c.Request(), err, response) {
		again := url.Values{"again": {"1"}, "return_to": {returnTo}}
		if name := rp.Provider().Name(); name != "" {
			again.Set("provider", name)
		}
		a.Log.InfoContext(c.Request().Context(), "sign-in started again", "event", authn.EventSignInFailed, "reason", openid.ReasonOf(err))
		return c.Redirect(http.StatusSeeOther, "/login?"+again.Encode())
	}
	return err
}
