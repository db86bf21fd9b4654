package routes

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
)

// claimName is the name of a standard claim, and a label for it in plain words.
type claimName struct{ name, label string }

// personalClaims returns the claims about the person (OpenID Connect Core 1.0 section 5.1). They
// come first.
func personalClaims() []claimName {
	return []claimName{
		{"name", "Full name"},
		{"given_name", "Given name"},
		{"middle_name", "Middle name"},
		{"family_name", "Family name"},
		{"nickname", "Nickname"},
		{"preferred_username", "Username"},
		{"email", "E-mail"},
		{"email_verified", "E-mail verified"},
		{"phone_number", "Phone number"},
		{"phone_number_verified", "Phone number verified"},
		{"address", "Address"},
		{"picture", "Picture"},
		{"profile", "Profile page"},
		{"website", "Website"},
		{"gender", "Gender"},
		{"birthdate", "Birth date"},
		{"zoneinfo", "Time zone"},
		{"locale", "Language"},
		{"updated_at", "Profile last changed"},
	}
}

// protocolClaims returns the claims about the sign-in (OpenID Connect Core 1.0 section 2). They
// come last, after the provider's own claims.
func protocolClaims() []claimName {
	return []claimName{
		{"sub", "Subject"},
		{"iss", "Issuer"},
		{"aud", "Audience"},
		{"azp", "Authorized party"},
		{"auth_time", "Authentication time"},
		{"acr", "Assurance level"},
		{"amr", "Sign-in method"},
		{"sid", "Session at the sign-in service"},
		{"iat", "ID token issued"},
		{"exp", "ID token expires"},
	}
}

// claimLabel returns a claim's label, or "" if the standards do not define the claim.
func claimLabel(name string) string {
	for _, claim := range slices.Concat(personalClaims(), protocolClaims()) {
		if claim.name == name {
			return claim.label
		}
	}
	return ""
}

// inOrder returns the claims in the order in which pages show them.
func inOrder(list []openid.SourcedClaim) []openid.SourcedClaim {
	personal, protocol := personalClaims(), protocolClaims()
	rank := func(claim openid.SourcedClaim) int {
		named := func(c claimName) bool { return c.name == claim.Name }
		if i := slices.IndexFunc(personal, named); i >= 0 {
			return i - len(personal)
		}
		return slices.IndexFunc(protocol, named) + 1
	}
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b openid.SourcedClaim) int { return cmp.Compare(rank(a), rank(b)) })
	return sorted
}

// withheld reports whether pages leave a claim out because it serves only the protocol.
func withheld(name string) bool {
	return name == "nonce" || name == "at_hash" || name == "c_hash" || name == "s_hash"
}

// claimsProps returns all that the app knows about the person, in the order that pages show.
func claimsProps(s *authn.Session) views.ClaimsProps {
	list := slices.DeleteFunc(inOrder(s.Identity.Claims()), func(c openid.SourcedClaim) bool { return withheld(c.Name) })
	return views.ClaimsProps{Claims: claimRows(list, s.Changes), JSON: claimsJSON(list)}
}

// claimRows makes the claims readable, and adds what the last refresh changed.
func claimRows(list []openid.SourcedClaim, changes []openid.Change) []views.Claim {
	var rows []views.Claim
	for _, claim := range list {
		row := views.Claim{
			Name: claim.Name, Label: claimLabel(claim.Name), Value: claimValue(claim.Claim), Source: string(claim.Source),
		}
		for _, change := range changes {
			switch {
			case change.Name != claim.Name || !bytes.Equal(change.After, claim.Value):
				// another claim, or one that a newer ID token has changed again since
			case change.Before == nil:
				row.Change = views.ClaimNew
			default:
				row.Change, row.Before = views.ClaimChanged, plainValue(change.Before)
			}
		}
		rows = append(rows, row)
	}
	for _, change := range changes {
		still := slices.ContainsFunc(list, func(c openid.SourcedClaim) bool { return c.Name == change.Name })
		if change.After == nil && !still {
			rows = append(rows, views.Claim{
				Name: change.Name, Label: claimLabel(change.Name), Change: views.ClaimRemoved, Before: plainValue(change.Before),
			})
		}
	}
	return rows
}

// claimValue chooses how to show a value.
func claimValue(claim openid.Claim) views.ClaimValue {
	var value any
	if err := json.Unmarshal(claim.Value, &value); err != nil {
		return views.ClaimValue{Kind: views.ClaimJSON, Text: string(claim.Value)}
	}
	switch value := value.(type) {
	case string:
		if u, err := url.Parse(value); err == nil && u.Scheme == "https" && u.Host != "" {
			return views.ClaimValue{Kind: views.ClaimURL, Text: value}
		}
		return views.ClaimValue{Kind: views.ClaimText, Text: value}
	case bool:
		return views.ClaimValue{Kind: views.ClaimBool, Bool: value}
	case float64:
		if at, ok := claimTime(claim.Name, value); ok {
			return views.ClaimValue{Kind: views.ClaimTime, Time: at}
		}
		return views.ClaimValue{Kind: views.ClaimText, Text: string(claim.Value)}
	case []any:
		if items, ok := texts(value); ok {
			return views.ClaimValue{Kind: views.ClaimList, List: items}
		}
	}
	return views.ClaimValue{Kind: views.ClaimJSON, Text: indent(claim.Value)}
}

// claimTime returns the time of a claim that the standards define as one.
func claimTime(name string, seconds float64) (time.Time, bool) {
	switch name {
	case "exp", "iat", "nbf", "auth_time", "updated_at":
		if seconds > 0 && seconds < 1<<40 {
			return time.Unix(int64(seconds), 0).UTC(), true
		}
	}
	return time.Time{}, false
}

func texts(values []any) ([]string, bool) {
	list := make([]string, 0, len(values))
	for _, v := range values {
		s, ok := v.(string)
		if !ok {
			return nil, false
		}
		list = append(list, s)
	}
	return list, true
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
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return strings.TrimSpace(string(raw))
}
