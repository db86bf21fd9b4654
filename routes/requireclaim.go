package routes

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
)

// maxShownClaim bounds how much of a claim a page repeats.
const maxShownClaim = 200

// claimNeeded says that the visitor's claims do not meet a rule.
type claimNeeded struct {
	rule   authn.Rule
	claims []openid.SourcedClaim
}

// Error names the claims without their values.
func (e *claimNeeded) Error() string {
	var names []string
	for _, need := range e.rule.Needs() {
		names = append(names, need.Claim)
	}
	return "routes: the rule about these claims is not met: " + strings.Join(names, ", ")
}

// requireClaim refuses visitors whose claims do not meet a rule. It checks every request, so that a
// role that is gone after a refresh of the profile opens nothing more. It comes after requireSession
// or api; several of them must all be met.
func (a *App) requireClaim(rule authn.Rule) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			claims, known := claimsOf(c)
			switch {
			case !known:
				return authn.ErrAnonymous
			case !rule.Met(claims):
				return &claimNeeded{rule, claims}
			}
			return next(c)
		}
	}
}

// claimsOf returns the claims of the sender of a request, and whether the sender is known.
func claimsOf(c echo.Context) (claims []openid.SourcedClaim, known bool) {
	if s := current(c); s != nil {
		return s.Identity.Claims(), true
	}
	if caller := authn.CallerFrom(c.Request().Context()); caller != nil {
		return caller.Claims(), true
	}
	return nil, false
}

// writeForbidden shows a person what is needed, what they have of it, and a way to switch accounts.
func (a *App) writeForbidden(c echo.Context, f failure, err error) error {
	if wantsJSON(c.Request()) {
		return a.writeProblem(c, f)
	}
	e, _ := errors.AsType[*claimNeeded](err)
	var person views.Person
	if s := current(c); s != nil {
		person = a.person(s)
	}
	props := a.forbiddenProps(c, f, e, person)
	if isHTMX(c.Request()) {
		return a.render(c, f.status, views.ForbiddenNotice(props))
	}
	return a.render(c, f.status, views.Forbidden(a.shell(c, f.heading), props))
}

func (a *App) forbiddenProps(c echo.Context, f failure, e *claimNeeded, person views.Person) views.ForbiddenProps {
	props := views.ForbiddenProps{
		Failure:   views.FailureProps{Status: f.status, Heading: f.heading, Text: f.text, Reference: RequestOf(c.Request().Context()).ID},
		Person:    person,
		SwitchURL: switchURL(returnPath(c.Request())),
	}
	for _, need := range e.rule.Needs() {
		props.Needs = append(props.Needs, views.Need{Claim: need.Claim, Value: need.Value, Held: shownValue(e.claims, need.Claim)})
	}
	return props
}

// shownValue returns what a person has of a claim: as much as helps to see why it is not enough.
func shownValue(claims []openid.SourcedClaim, name string) string {
	for _, claim := range claims {
		if claim.Name != name {
			continue
		}
		text := plainValue(claim.Value)
		var list []string
		if json.Unmarshal(claim.Value, &list) == nil {
			text = strings.Join(list, ", ")
		}
		if len(text) > maxShownClaim {
			text = strings.ToValidUTF8(text[:maxShownClaim], "") + "…"
		}
		return text
	}
	return ""
}
