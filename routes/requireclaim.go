package routes

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
	"latchkey/views/messages"
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
		props.Needs = append(props.Needs, views.Need{Claim: need.Claim, Value: needed(texts(c), need), Held: shownValue(e.claims, need.Claim)})
	}
	return props
}

// inWords returns what a rule requires, to complete the sentence "This page needs ...". One of the
// needs is enough.
func inWords(t *messages.Catalogue, needs []authn.Need) string {
	// The texts for the entries of common lists (RFC 9068 section 2.2.3.1, and Auth0's permissions).
	items := map[string]string{
		"roles": t.Need.Role, "groups": t.Need.Group, "permissions": t.Need.Permission, "entitlements": t.Need.Entitlement,
	}
	words := ""
	for _, need := range needs {
		name := need.Claim[strings.LastIndex(need.Claim, "/")+1:] // without the namespace
		var one string
		switch {
		case need.Item != "" && items[name] != "":
			one = fmt.Sprintf(items[name], need.Item)
		case need.Item != "":
			one = fmt.Sprintf(t.Need.Item, need.Item, name)
		default:
			one = fmt.Sprintf(t.Need.Value, name, needed(t, need))
		}
		if words != "" {
			one = fmt.Sprintf(t.Need.Or, words, one)
		}
		words = one
	}
	return cmp.Or(words, t.Need.Nothing)
}

// needed returns what a claim has to be.
func needed(t *messages.Catalogue, need authn.Need) string {
	switch {
	case need.Equal != "":
		return fmt.Sprintf(t.Need.Equal, need.Equal)
	case need.Item != "":
		return fmt.Sprintf(t.Need.Includes, need.Item)
	case need.Domain != "":
		return fmt.Sprintf(t.Need.Address, need.Domain)
	default:
		return need.Other
	}
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
