package routes

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn/openid"
)

// logoutTimeout bounds the handling of a logout token, because the provider waits for the response.
const logoutTimeout = 2 * time.Second

// logoutRefused is the error of a back-channel logout that is refused.
type logoutRefused struct{ err error }

func (e *logoutRefused) Error() string { return "routes: back-channel logout: " + e.err.Error() }
func (e *logoutRefused) Unwrap() error { return e.err }

// writeLogoutRefused answers with status 400, whatever the cause (OpenID Connect Back-Channel
// Logout 1.0 section 2.8).
func writeLogoutRefused(c echo.Context, err error) error {
	return c.JSON(http.StatusBadRequest, map[string]string{"error": "invalid_request", "reason": string(openid.ReasonOf(err))})
}

const backchannelLogoutPath = "/backchannel-logout"

// backchannelLogout ends the sessions that the provider's logout token names (OpenID Connect
// Back-Channel Logout 1.0 section 2.5). It reads no cookie and sets none.
func (a *App) backchannelLogout(c echo.Context) error {
	// The sessions end even if the provider stops waiting.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), logoutTimeout)
	defer cancel()
	form, err := formValues(c)
	if err != nil {
		return &logoutRefused{err}
	}
	tokens := form["logout_token"]
	if len(tokens) != 1 {
		return &logoutRefused{errors.New("the form must have exactly one logout_token")}
	}
	rp := a.RelyingParties.OfToken(tokens[0])
	setRelyingParty(c, rp)
	token, err := rp.Provider().VerifyLogoutToken(ctx, tokens[0])
	if err != nil {
		return &logoutRefused{err}
	}
	ended, err := a.Sessions.EndAll(ctx, token)
	if err != nil {
		return &logoutRefused{err}
	}
	a.Log.InfoContext(ctx, "signed out by the provider", "issuer", token.Issuer, "sessions", ended)
	// 200 even if there was no session to end (section 2.8).
	return c.NoContent(http.StatusOK)
}

// frontchannelLogout ends a session from a frame in the provider's page, in the person's browser
// (OpenID Connect Front-Channel Logout 1.0 section 3). The browser sends no cookie from that frame,
// so iss and sid must name the session. Without that, any site could sign people out.
func (a *App) frontchannelLogout(c echo.Context) error {
	ctx := c.Request().Context()
	query := c.QueryParams()
	rp := a.RelyingParties.Of(query.Get("iss"))
	if len(query["iss"]) != 1 || len(query["sid"]) != 1 || query.Get("sid") == "" || rp == nil {
		return echo.ErrBadRequest.WithInternal(errors.New("front-channel logout: iss or sid is missing, or iss is another issuer"))
	}
	ended, err := a.Sessions.EndProviderSession(ctx, query.Get("iss"), query.Get("sid"))
	if err != nil {
		return err
	}
	a.Log.InfoContext(ctx, "signed out by the provider, in the browser", "issuer", query.Get("iss"), "sessions", ended)
	// Only this response may be framed, and only by the provider.
	h := c.Response().Header()
	h.Del("X-Frame-Options")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors "+strings.Join(rp.Provider().Origins(), " "))
	return c.NoContent(http.StatusOK)
}
