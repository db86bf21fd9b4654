package routes

import (
	"encoding/json"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
)

// maxHeld bounds what a page repeats of a claim.
const maxHeld = 200

// claimNeeded says that the claims of whoever asks do not meet a rule.
type claimNeeded struct {
	rule   authn.Rule
	claims []authn.SourcedClaim
}

// Error names the claims and nothing of what is in them.
func (e *claimNeeded) Error() string {
	var names []string
	for _, need := range e.rule.Needs() {
		names = append(names, need.Claim)
	}
	return "routes: the rule about these claims is not met: " + strings.Join(names, ", ")
}

// requireClaim lets nobody past whose claims do not meet a rule. It asks anew with every
// request, so that a role that is gone after a refresh of the profile opens nothing more.
// It stands behind requireSession, or behind api; several of them must all be met.
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

// claimsOf returns the claims of whoever sent a request, and whether that is known.
func claimsOf(c echo.Context) (claims []authn.SourcedClaim, known bool) {
	if s := current(c); s != nil {
		return s.Identity.Claims(), true
	}
	if caller := authn.CallerFrom(c.Request().Context()); caller != nil {
		return caller.Claims(), true
	}
	return nil, false
}

// forbidden answers a person: with what is needed, what they have of it, and a way to be
// somebody else.
func (a *App) forbidden(c echo.Context, f failure, e *claimNeeded) error {
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
		props.Needs = append(props.Needs, views.Need{Claim: need.Claim, Value: need.Value, Held: heldValue(e.claims, need.Claim)})
	}
	return props
}

// heldValue is what a person has of a claim: as much of it as helps to see why it is not
// enough.
func heldValue(claims []authn.SourcedClaim, name string) string {
	for _, claim := range claims {
		if claim.Name != name {
			continue
		}
		text := plainValue(claim.Value)
		var list []string
		if json.Unmarshal(claim.Value, &list) == nil {
			text = strings.Join(list, ", ")
		}
		if len(text) > maxHeld {
			text = strings.ToValidUTF8(text[:maxHeld], "") + "…"
		}
		return text
	}
	return ""
}
