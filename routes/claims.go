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
	"latchkey/views/messages"
)

// claimRanks orders the claims that the standards define, each of which has a label in the catalogue.
// The claims about the person come first (OpenID Connect Core 1.0 section 5.1), with ranks below 0, and
// those about the sign-in last (section 2). The provider's own claims come between them, with rank 0.
var claimRanks = map[string]int{
	"name":                  -19,
	"given_name":            -18,
	"middle_name":           -17,
	"family_name":           -16,
	"nickname":              -15,
	"preferred_username":    -14,
	"email":                 -13,
	"email_verified":        -12,
	"phone_number":          -11,
	"phone_number_verified": -10,
	"address":               -9,
	"picture":               -8,
	"profile":               -7,
	"website":               -6,
	"gender":                -5,
	"birthdate":             -4,
	"zoneinfo":              -3,
	"locale":                -2,
	"updated_at":            -1,

	"sub":       1,
	"iss":       2,
	"aud":       3,
	"azp":       4,
	"auth_time": 5,
	"acr":       6,
	"amr":       7,
	"sid":       8,
	"iat":       9,
	"exp":       10,
}

// withheld reports whether pages leave a claim out because it serves only the protocol.
func withheld(name string) bool {
	return name == "nonce" || name == "at_hash" || name == "c_hash" || name == "s_hash"
}

// manyClaims is how many claims the dashboard shows without an offer to filter them.
const manyClaims = 30

// rankedClaim is a claim with its place among the others.
type rankedClaim struct {
	openid.SourcedClaim
	rank int
}

// claimsProps returns all that the app knows about the person, in the order that pages show.
func claimsProps(t *messages.Catalogue, s *authn.Session) views.ClaimsProps {
	all := s.Claims()
	ranked := make([]rankedClaim, 0, len(all))
	for _, c := range all {
		if !withheld(c.Name) {
			ranked = append(ranked, rankedClaim{c, claimRanks[c.Name]})
		}
	}
	slices.SortStableFunc(ranked, func(a, b rankedClaim) int { return cmp.Compare(a.rank, b.rank) })
	claims := make([]openid.Claim, len(ranked))
	for i, c := range ranked {
		claims[i] = c.Claim
	}
	return views.ClaimsProps{Groups: claimGroups(t, ranked, s.Changes), Filter: len(ranked) > manyClaims, JSON: claimsJSON(claims)}
}

// claimGroups makes the claims readable, and adds what the last refresh changed.
func claimGroups(t *messages.Catalogue, ranked []rankedClaim, changes []openid.Change) []views.ClaimGroup {
	groups := []views.ClaimGroup{{Kind: views.ClaimsOfProfile}, {Kind: views.ClaimsOfProvider}, {Kind: views.ClaimsOfProtocol}}
	add := func(row views.Claim, rank int, source openid.Source) {
		row.Label = t.Claims.Labels[row.Name]
		g := &groups[cmp.Compare(rank, 0)+1]
		g.Claims = append(g.Claims, row)
		g.Changed = g.Changed || row.Change != views.ClaimUnchanged
		switch source {
		case openid.SourceIDToken:
			g.Source |= views.FromIDToken
		case openid.SourceUserInfo:
			g.Source |= views.FromUserInfo
		}
	}
	changed := make(map[string]openid.Change, len(changes))
	for _, change := range changes {
		changed[change.Name] = change
	}
	for _, claim := range ranked {
		row := views.Claim{Name: claim.Name, Value: claimValue(claim.Claim)}
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
		add(row, claim.rank, claim.Source)
	}
	for _, change := range changes {
		if _, left := changed[change.Name]; left && change.After == nil {
			add(views.Claim{Name: change.Name, Change: views.ClaimRemoved, Before: plainValue(change.Before)}, claimRanks[change.Name], "")
		}
	}
	return slices.DeleteFunc(groups, func(g views.ClaimGroup) bool { return len(g.Claims) == 0 })
}

// receivedProps returns what the provider sent about the person, source by source.
func receivedProps(t *messages.Catalogue, s *authn.Session) views.ReceivedProps {
	document := func(claims openid.Claims) string {
		if len(claims) == 0 {
			return ""
		}
		return claimsJSON(slices.DeleteFunc(claims.List(), func(c openid.Claim) bool { return withheld(c.Name) }))
	}
	props := views.ReceivedProps{IDToken: document(s.Identity.IDToken), UserInfo: document(s.Identity.UserInfo)}
	for _, change := range s.Changes {
		props.Changes = append(props.Changes, views.Change{
			Claim: cmp.Or(t.Claims.Labels[change.Name], change.Name), Before: plainValue(change.Before), After: plainValue(change.After),
		})
	}
	return props
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
	case '{':
		if text, ok := address(claim); ok {
			return views.ClaimValue{Kind: views.ClaimText, Text: text}
		}
	case 'n':
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

// address returns an address on one line: as the provider formats it, or else its parts (OpenID Connect
// Core 1.0 section 5.1.1).
func address(claim openid.Claim) (string, bool) {
	if claim.Name != "address" {
		return "", false
	}
	parts := openid.Claims(claim.Value)
	lines := strings.Split(parts.String("formatted"), "\n")
	if lines[0] == "" {
		lines = lines[:0]
		for _, part := range []string{"street_address", "postal_code", "locality", "region", "country"} {
			lines = append(lines, strings.Split(parts.String(part), "\n")...)
		}
	}
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.TrimSpace(line) == "" })
	return strings.Join(lines, ", "), len(lines) > 0
}

// claimsJSON returns the claims as one indented JSON object, in their order. Most values are not
// composed, and need no indentation.
func claimsJSON(list []openid.Claim) string {
	// Growing the buffer step by step takes 3 to 7 % of the time of a page that is not cached.
	size := len("{\n}")
	for _, claim := range list {
		size += len(claim.Name) + len(claim.Value) + len(",\n  \"\": ")
	}
	var object bytes.Buffer
	object.Grow(size)
	object.WriteByte('{')
	for i, claim := range list {
		if i > 0 {
			object.WriteByte(',')
		}
		object.WriteString("\n  ")
		writeName(&object, claim.Name)
		object.WriteString(": ")
		if composed := claim.Value[0] == '{' || claim.Value[0] == '['; !composed || json.Indent(&object, claim.Value, "  ", "  ") != nil {
			object.Write(claim.Value)
		}
	}
	object.WriteString("\n}")
	return object.String()
}

// writeName writes a claim's name as a JSON string.
func writeName(object *bytes.Buffer, name string) {
	if strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) < 0 {
		object.WriteByte('"') // as most names are
		object.WriteString(name)
		object.WriteByte('"')
		return
	}
	quoted, _ := json.Marshal(name) // a string always marshals
	object.Write(quoted)
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
