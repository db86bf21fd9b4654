package routes

import (
	"cmp"
	"encoding/json"
	"errors"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
)

// maxShownClaim bounds how many bytes of a claim a page shows.
const maxShownClaim = 200

// claimNeeded says that claims do not meet a rule.
type claimNeeded struct {
	rule   authn.Rule
	claims []openid.SourcedClaim
}

// Error names the claims, but not their values.
func (e *claimNeeded) Error() string {
	var names []string
	for _, need := range e.rule.Needs() {
		names = append(names, need.Claim)
	}
	return "routes: the claims do not meet the rule about " + strings.Join(names, ", ")
}

// requireClaim refuses visitors whose claims do not meet a rule. It checks every request, so that a
// person loses access as soon as a refresh of the profile removes the role. It comes after
// requireSession or api. A route with several of them requires all of their rules.
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

// claimsOf returns the claims of a request's sender, and whether the sender is known. The caller of an
// API comes first: if the request has an access token, the session beside it does not count.
func claimsOf(c echo.Context) (claims []openid.SourcedClaim, known bool) {
	if caller := authn.CallerFrom(c.Request().Context()); caller != nil {
		return caller.Claims(), true
	}
	if s := current(c); s != nil {
		return s.Claims(), true
	}
	return nil, false
}

// writeForbidden shows a person what the page requires, their own values, and a link to another account.
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

// inWords returns what a rule requires, to complete the sentence "This page needs ...". One of the
// needs is enough.
func inWords(needs []authn.Need) string {
	// The names for the entries of common lists (RFC 9068 section 2.2.3.1, and Auth0's permissions).
	items := map[string]string{"roles": "role", "groups": "group", "permissions": "permission", "entitlements": "entitlement"}
	var words []string
	for _, need := range needs {
		name := need.Claim[strings.LastIndex(need.Claim, "/")+1:] // without the namespace
		switch {
		case need.Item != "" && items[name] != "":
			words = append(words, "the "+need.Item+" "+items[name])
		case need.Item != "":
			words = append(words, need.Item+" in your "+name)
		default:
			words = append(words, "your "+name+" to be "+need.Value)
		}
	}
	return cmp.Or(strings.Join(words, " or "), "access that no account has")
}

// shownValue returns a person's value of a claim, cut to maxShownClaim, or "" if the claim is not set.
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
