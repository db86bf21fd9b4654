package routes

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
)

// standardClaim is how pages show a claim that the standards define: a label in plain words, and its
// rank among the claims.
type standardClaim struct {
	label string
	rank  int
}

// standardClaims has the claims about the person first (OpenID Connect Core 1.0 section 5.1), with
// ranks below 0, and those about the sign-in last (section 2). The provider's own claims come between
// them, with rank 0.
var standardClaims = map[string]standardClaim{
	"name":                  {"Full name", -19},
	"given_name":            {"Given name", -18},
	"middle_name":           {"Middle name", -17},
	"family_name":           {"Family name", -16},
	"nickname":              {"Nickname", -15},
	"preferred_username":    {"Username", -14},
	"email":                 {"E-mail", -13},
	"email_verified":        {"E-mail verified", -12},
	"phone_number":          {"Phone number", -11},
	"phone_number_verified": {"Phone number verified", -10},
	"address":               {"Address", -9},
	"picture":               {"Picture", -8},
	"profile":               {"Profile page", -7},
	"website":               {"Website", -6},
	"gender":                {"Gender", -5},
	"birthdate":             {"Birth date", -4},
	"zoneinfo":              {"Time zone", -3},
	"locale":                {"Language", -2},
	"updated_at":            {"Profile last changed", -1},

	"sub":       {"Subject", 1},
	"iss":       {"Issuer", 2},
	"aud":       {"Audience", 3},
	"azp":       {"Authorized party", 4},
	"auth_time": {"Authentication time", 5},
	"acr":       {"Assurance level", 6},
	"amr":       {"Sign-in method", 7},
	"sid":       {"Session at the sign-in service", 8},
	"iat":       {"ID token issued", 9},
	"exp":       {"ID token expires", 10},
}

// claimLabel returns a claim's label, or "" if the standards do not define the claim.
func claimLabel(name string) string { return standardClaims[name].label }

// inOrder returns the claims in the order in which pages show them.
func inOrder(list []openid.SourcedClaim) []openid.SourcedClaim {
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b openid.SourcedClaim) int {
		return cmp.Compare(standardClaims[a.Name].rank, standardClaims[b.Name].rank)
	})
	return sorted
}

// withheld reports whether pages leave a claim out because it serves only the protocol.
func withheld(name string) bool {
	return name == "nonce" || name == "at_hash" || name == "c_hash" || name == "s_hash"
}

// claimsProps returns all that the app knows about the person, in the order that pages show.
func claimsProps(s *authn.Session) views.ClaimsProps {
	list := slices.DeleteFunc(inOrder(s.Claims()), func(c openid.SourcedClaim) bool { return withheld(c.Name) })
	return views.ClaimsProps{Claims: claimRows(list, s.Changes), JSON: claimsJSON(list)}
}

// claimRows makes the claims readable, and adds what the last refresh changed.
func claimRows(list []openid.SourcedClaim, changes []openid.Change) []views.Claim {
	rows := make([]views.Claim, 0, len(list))
	changed := make(map[string]openid.Change, len(changes))
	for _, change := range changes {
		changed[change.Name] = change
	}
	for _, claim := range list {
		row := views.Claim{
			Name: claim.Name, Label: claimLabel(claim.Name), Value: claimValue(claim.Claim), Source: string(claim.Source),
		}
		change, ok := changed[claim.Name]
		delete(changed, claim.Name) // what is left was removed
		switch {
		case !ok || !bytes.Equal(change.After, claim.Value):
			// the same as before, or changed again since by a newer ID token
		case change.Before == nil:
			row.Change = views.ClaimNew
		default:
			row.Change, row.Before = views.ClaimChanged, plainValue(change.Before)
		}
		rows = append(rows, row)
	}
	for _, change := range changes {
		if _, left := changed[change.Name]; left && change.After == nil {
			rows = append(rows, views.Claim{
				Name: change.Name, Label: claimLabel(change.Name), Change: views.ClaimRemoved, Before: plainValue(change.Before),
			})
		}
	}
	return rows
}

// claimValue chooses how to show a value. The first byte of a JSON value says what it is.
func claimValue(claim openid.Claim) views.ClaimValue {
	switch claim.Value[0] {
	case '"':
		text := plainValue(claim.Value)
		if len(text) > 8 && strings.EqualFold(text[:8], "https://") {
			return views.ClaimValue{Kind: views.ClaimURL, Text: text}
		}
		return views.ClaimValue{Kind: views.ClaimText, Text: text}
	case 't', 'f':
		return views.ClaimValue{Kind: views.ClaimBool, Bool: claim.Value[0] == 't'}
	case '[':
		if items, err := claim.Strings(); err == nil {
			return views.ClaimValue{Kind: views.ClaimList, List: items}
		}
	case '{', 'n':
	default:
		if at, ok := claimTime(claim); ok {
			return views.ClaimValue{Kind: views.ClaimTime, Time: at}
		}
		return views.ClaimValue{Kind: views.ClaimText, Text: string(claim.Value)}
	}
	return views.ClaimValue{Kind: views.ClaimJSON, Text: indent(claim.Value)}
}

// claimTime returns the time of a number that the standards define as one.
func claimTime(claim openid.Claim) (time.Time, bool) {
	switch claim.Name {
	case "exp", "iat", "nbf", "auth_time", "updated_at":
		seconds, err := strconv.ParseFloat(string(claim.Value), 64)
		if err == nil && seconds > 0 && seconds < 1<<40 {
			return time.Unix(int64(seconds), 0).UTC(), true
		}
	}
	return time.Time{}, false
}

// claimsJSON returns the claims as one indented JSON object, in the order of the rows.
func claimsJSON(list []openid.SourcedClaim) string {
	var object bytes.Buffer
	object.WriteByte('{')
	for _, claim := range list {
		if object.Len() > 1 {
			object.WriteByte(',')
		}
		name, err := json.Marshal(claim.Name)
		if err != nil {
			continue // a string always marshals
		}
		object.Write(name)
		object.WriteByte(':')
		object.Write(claim.Value)
	}
	object.WriteByte('}')
	return indent(object.Bytes())
}

func indent(raw []byte) string {
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return string(raw)
	}
	return out.String()
}

// plainValue returns a value as a short text: a string without its quotes, anything else as JSON.
func plainValue(raw []byte) string {
	if n := len(raw); n >= 2 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw[1 : n-1]) // as most strings are
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return strings.TrimSpace(string(raw))
}
