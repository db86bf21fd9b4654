package routes

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// These are the paths of what operators do with sessions, on their own address.
const (
	SessionsPath    = "/sessions"
	EndSessionsPath = "/sessions/end"
)

// OperatorHeader is the header in which a client of the operators' address says who its operator is.
const OperatorHeader = "X-Operator"

// errOperatorToken says that a request does not have the operators' token.
var errOperatorToken = errors.New("routes: the operators' token is missing or wrong")

// maxOperator bounds the name of an operator, in bytes.
const maxOperator = 100

// operator refuses a request without the operators' token, and notes who the operator says they are:
// all of them have the same token.
func (a *App) operator(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		authorization, name := r.Header.Get(echo.HeaderAuthorization), r.Header.Get(OperatorHeader)
		used, token, _ := strings.Cut(authorization, " ")
		switch {
		case authorization == "":
			return &tokenError{schemes: []scheme{bearer}, err: errOperatorToken}
		case !strings.EqualFold(used, string(bearer)) || !openid.EqualSecret(token, string(a.OperatorToken)):
			return &tokenError{code: "invalid_token", schemes: []scheme{bearer}, err: errOperatorToken}
		case name == "" || len(name) > maxOperator:
			return invalidRequest(bearer, "the header "+OperatorHeader+" does not say who the operator is")
		}
		r.Context().Value(requestKey{}).(*requestContext).request.Operator = name
		// To end many sessions takes longer than the server allows for a page.
		_ = http.NewResponseController(c.Response()).SetWriteDeadline(time.Time{})
		return next(c)
	}
}

// listSessions answers with a line of JSON for each session, and with a last line that says how many
// there are: without it, the list is not complete. The parameter subject names a person. If there are
// several providers, issuer says at which one.
func (a *App) listSessions(c echo.Context) error {
	which, err := a.selection(c.QueryParams())
	if err != nil {
		return err
	}
	a.logOperator(c, "sessions listed by an operator", which)
	c.Response().Header().Set(echo.HeaderContentType, "application/x-ndjson")
	out, n := json.NewEncoder(c.Response()), 0
	for session, err := range a.Sessions.List(c.Request().Context(), which) {
		if err != nil {
			return err
		}
		if err := out.Encode(session); err != nil {
			return err
		}
		n++
	}
	return out.Encode(SessionCount{n})
}

// SessionCount is how many sessions an operator has listed or ended.
type SessionCount struct {
	Sessions int `json:"sessions"`
}

// endSessions ends the sessions that exactly one of the form's fields names: subject, session or all. With
// subject, issuer says whose it is if there are several providers.
func (a *App) endSessions(c echo.Context) error {
	form, err := formValues(c)
	if err != nil {
		return err
	}
	which, err := a.selection(form)
	if err != nil {
		return err
	}
	named := 0
	for _, field := range []string{"subject", "session", "all"} {
		if form.Get(field) != "" {
			named++
		}
	}
	if named != 1 {
		return echo.ErrBadRequest.WithInternal(errors.New("the form must have exactly one of subject, session and all"))
	}
	ended, err := a.Sessions.EndSelected(c.Request().Context(), which)
	a.logOperator(c, "sessions ended by an operator", which, "ended", ended)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, SessionCount{ended})
}

// selection returns the sessions that an operator names. A selection that cannot match anyone is an error: an
// operator would read "0 sessions ended" as success.
func (a *App) selection(named url.Values) (authn.Selection, error) {
	for _, field := range []string{"issuer", "subject", "session"} {
		if values, ok := named[field]; ok && (len(values) != 1 || values[0] == "") {
			return authn.Selection{}, echo.ErrBadRequest.WithInternal(fmt.Errorf("%s must have one value", field))
		}
	}
	which := authn.Selection{Issuer: named.Get("issuer"), Subject: named.Get("subject"), Session: named.Get("session")}
	switch {
	case which.Issuer != "" && which.Subject == "":
		return which, echo.ErrBadRequest.WithInternal(errors.New("issuer says whose subject it is, and there is no subject"))
	case which.Subject != "" && len(a.Sessions.PeopleOf(which)) == 0:
		return which, echo.ErrBadRequest.WithInternal(errors.New("no provider of this app has this issuer: write it exactly as in the log"))
	}
	return which, nil
}

// logOperator logs what an operator does to which sessions. The line does not name a person by their
// subject.
func (a *App) logOperator(c echo.Context, message string, which authn.Selection, attributes ...any) {
	attributes = append(attributes, "event", authn.EventOperator)
	if which.Subject != "" {
		attributes = append(attributes, "person", strings.Join(a.Sessions.PeopleOf(which), " "))
	}
	if which.Session != "" {
		attributes = append(attributes, "session", which.Session)
	}
	a.Log.InfoContext(c.Request().Context(), message, attributes...)
}
