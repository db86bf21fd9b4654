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

// afterSignIn is where a person goes who was not going anywhere.
const afterSignIn = "/dashboard"

// parseReturnPath returns a page of the app that makes sense to return to after a sign-in, and the
// zero ReturnPath for anything else.
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

// destination returns where a person goes: to a page, or to afterSignIn.
func destination(page authn.ReturnPath) string {
	if page.IsZero() {
		return afterSignIn
	}
	return page.String()
}

// loginURL links to a sign-in that returns to a page.
func loginURL(page authn.ReturnPath) string {
	if destination(page) == afterSignIn {
		return "/login"
	}
	return "/login?" + url.Values{"return_to": {page.String()}}.Encode()
}

// switchURL links to a sign-in, perhaps as another person, that returns to a page.
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

// thirdPartyTarget checks a sign-in that another site starts (OpenID Connect Core 1.0
// section 4) and returns where it is to end: the issuer must be ours, and so must the
// target.
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
	return c.Redirect(http.StatusSeeOther, destination(in.ReturnTo))
}

// authorizationResponse reads the response from where it was asked to be, and from
// nowhere else.
func (a *App) authorizationResponse(c echo.Context) (url.Values, error) {
	r := c.Request()
	if !a.Provider.FormPost() {
		return c.QueryParams(), nil
	}
	if r.Method != http.MethodPost || r.URL.RawQuery != "" {
		return nil, &openid.Error{Reason: openid.ReasonResponseMalformed, Err: errors.New("the response did not come as a form, or not as a form alone")}
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

// heal recovers from a callback that is stale, replayed or lost: the back button, a double click, a
// restored tab, a bookmark. A person who is signed in goes where they were going. For anyone else
// the sign-in starts once more, and only after that a page says what happened.
func (a *App) heal(c echo.Context, err error, response url.Values) error {
	returnTo := afterSignIn
	if e, ok := errors.AsType[*authn.SignInError](err); ok {
		returnTo = destination(e.ReturnTo)
	}
	stale := []openid.Reason{authn.ReasonTransactionMissing, authn.ReasonTransactionExpired, authn.ReasonTransactionUsed}
	if current(c) != nil && slices.Contains(stale, openid.ReasonOf(err)) {
		return c.Redirect(http.StatusSeeOther, returnTo)
	}
	if a.RelyingParty.MayRestart(c.Response(), c.Request(), err, response) {
		a.Log.InfoContext(c.Request().Context(), "sign-in started again", "reason", openid.ReasonOf(err))
		return c.Redirect(http.StatusSeeOther, "/login?"+url.Values{"again": {"1"}, "return_to": {returnTo}}.Encode())
	}
	return err
}
