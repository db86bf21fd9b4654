package routes

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/static"
	"latchkey/views"
)

// The endpoints and headers of Device Bound Session Credentials (a W3C draft). Comments note what
// Chromium does where the code depends on it.
const (
	bindPath  = "/session/bind"
	renewPath = "/session/renew"

	offerHeader     = "Secure-Session-Registration"
	challengeHeader = "Secure-Session-Challenge"
	proofHeader     = "Secure-Session-Response"
	nameHeader      = "Sec-Secure-Session-Id"
	skippedHeader   = "Secure-Session-Skipped"
)

// offerDevice offers the browser to bind the session that has just started to a key of its device. A
// browser that knows no such keys ignores the header. A session without the offer is one without a
// key, so a failure is only logged.
func (a *App) offerDevice(c echo.Context, s *authn.Session) {
	if !a.Sessions.BindsDevices() {
		return
	}
	offer, err := a.Sessions.OfferDevice(s)
	if err != nil {
		a.Log.ErrorContext(c.Request().Context(), "session not offered to be bound", "session", s.LogID(), "error", err)
		return
	}
	c.Response().Header().Set(offerHeader, `(`+openid.DeviceProofAlgorithm+`);path="`+bindPath+`";challenge="`+offer.Challenge+`";authorization="`+offer.Authorization+`"`)
}

// deviceSession tells the browser about its bound session (section "Session instructions").
type deviceSession struct {
	Session  string `json:"session_identifier"`
	RenewURL string `json:"refresh_url"`
	Scope    struct {
		Origin      string      `json:"origin"`
		IncludeSite bool        `json:"include_site"`
		Rules       []scopeRule `json:"scope_specification"`
	} `json:"scope"`
	Credentials []deviceCredential `json:"credentials"`
}

type scopeRule struct {
	Type   string `json:"type"`
	Domain string `json:"domain"`
	Path   string `json:"path"`
}

// deviceCredential is the cookie that the browser renews before a request goes out without it. Its
// attributes must be those that it is set with: otherwise every request would wait for a renewal.
type deviceCredential struct {
	Type       string `json:"type"`
	Name       string `json:"name"`
	Attributes string `json:"attributes"`
}

// deviceSessionEnd makes the browser forget its bound session.
type deviceSessionEnd struct {
	Session  string `json:"session_identifier"`
	Continue bool   `json:"continue"`
}

// bindDevice registers the key of a browser for the session of an offer. The request has no session
// cookie, because the provider's site began the navigation.
func (a *App) bindDevice(c echo.Context) error {
	r := c.Request()
	next, err := a.Sessions.BindDevice(c.Response(), r, a.BaseURL.String()+bindPath, unquoted(r.Header.Get(proofHeader)))
	if err != nil {
		return err
	}
	setChallenge(c, next)
	session := deviceSession{Session: next.Session, RenewURL: renewPath, Credentials: []deviceCredential{
		{"cookie", a.Sessions.BoundCookie(), "Path=/; Secure; HttpOnly; SameSite=Lax"},
	}}
	session.Scope.Origin = a.BaseURL.String()
	session.Scope.Rules = []scopeRule{{"exclude", "*", strings.TrimSuffix(static.Prefix, "/")}} // assets need no session
	return c.JSON(http.StatusOK, session)
}

// renewDevice renews the cookie that proves the key of a bound session. There is no limit on how
// often: a request without the session's cookie costs a read of the store at most, and to answer 429
// would end the session in the browser.
func (a *App) renewDevice(c echo.Context) error {
	r := c.Request()
	id := unquoted(r.Header.Get(nameHeader))
	next, err := a.Sessions.RenewDevice(c.Response(), r, a.BaseURL.String()+renewPath, id, unquoted(r.Header.Get(proofHeader)))
	if next.Challenge != "" {
		setChallenge(c, next)
	}
	switch {
	case errors.Is(err, authn.ErrNotBound):
		return c.JSON(http.StatusOK, deviceSessionEnd{Session: id})
	case is[*authn.ProofError](err):
		return err
	case errors.Is(err, authn.ErrProofNeeded):
		return c.NoContent(http.StatusForbidden) // the browser comes again with an answer to the challenge
	case err != nil:
		return err
	}
	return c.NoContent(http.StatusOK)
}

// setChallenge gives the browser the challenge of its next proof, which saves a request then.
func setChallenge(c echo.Context, next authn.DeviceChallenge) {
	c.Response().Header().Set(challengeHeader, `"`+next.Challenge+`";id="`+next.Session+`"`)
}

// unquoted returns the value of a header that is a string. The draft puts it in quotes (RFC 9651
// section 3.3.3), and Chromium does not. Neither tokens nor ids have quotes inside.
func unquoted(value string) string {
	if len(value) >= 2 && strings.HasPrefix(value, `"`) && strings.HasSuffix(value, `"`) {
		return value[1 : len(value)-1]
	}
	return value
}

// withoutProof reports whether a route serves a person whose browser has yet to prove the key of their
// session as it serves a visitor: they sign in again, or sign out.
func withoutProof(c echo.Context) bool {
	path := c.Path()
	return path == "/login" || isCallback(path) || path == "/logout" && c.Request().Method == http.MethodPost
}

// writeRenewalNeeded answers a request without a proof of its session's key. A browser renews the
// proof before it sends a request. Chromium does not for a link from another site, so the answer is then a
// page that requests its own address again, now from this site. Any other client without a proof has no
// key, or could not renew the proof, and is answered as if there were no session.
func (a *App) writeRenewalNeeded(c echo.Context, f failure, err error) error {
	r := c.Request()
	staleProof := a.Sessions.ClearBound(c.Response(), r) // until the cookie is gone, the browser sees nothing to renew
	site, skipped := r.Header.Get("Sec-Fetch-Site"), r.Header.Get(skippedHeader) != ""
	fromElsewhere := site != "" && site != "same-origin" && !skipped
	page, ok := authn.ParseReturnPath(r.URL.RequestURI())
	switch navigation := authn.IsNavigation(r) && slices.Contains(reading, r.Method); {
	case navigation && ok && (fromElsewhere || staleProof):
		return a.moveOn(c, f.status, views.MovingOnProps{Heading: f.heading, Text: f.text, URL: page.String()})
	case authn.IsNavigation(r) || isHTMX(r) || wantsJSON(r):
		return a.writeSignInNeeded(c, f, err)
	default:
		return a.writePage(c, f, err) // a redirect would lead a script to the provider
	}
}

// writeProofRefused answers the browser itself, which reads no body.
func (a *App) writeProofRefused(c echo.Context, f failure, _ error) error {
	return c.NoContent(f.status)
}
