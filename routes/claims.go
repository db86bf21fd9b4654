package routes

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"latchkey/authn"
	"latchkey/views"
)

// claimLabels says the standard claims in plain words (OpenID Connect Core 1.0
// sections 2 and 5.1).
func claimLabel(name string) string {
	switch name {
	case "sub":
		return "Subject"
	case "iss":
		return "Issuer"
	case "aud":
		return "Audience"
	case "azp":
		return "Authorized party"
	case "exp":
		return "ID token expires"
	case "iat":
		return "ID token issued"
	case "auth_time":
		return "Signed in at the provider"
	case "acr":
		return "Assurance of the sign-in"
	case "amr":
		return "Means of the sign-in"
	case "sid":
		return "Provider's session"
	case "name":
		return "Full name"
	case "given_name":
		return "Given name"
	case "family_name":
		return "Family name"
	case "middle_name":
		return "Middle name"
	case "nickname":
		return "Nickname"
	case "preferred_username":
		return "Username"
	case "profile":
		return "Profile page"
	case "picture":
		return "Picture"
	case "website":
		return "Website"
	case "email":
		return "E-mail"
	case "email_verified":
		return "E-mail verified"
	case "gender":
		return "Gender"
	case "birthdate":
		return "Birth date"
	case "zoneinfo":
		return "Time zone"
	case "locale":
		return "Language"
	case "phone_number":
		return "Phone number"
	case "phone_number_verified":
		return "Phone number verified"
	case "address":
		return "Address"
	case "updated_at":
		return "Profile changed"
	default:
		return ""
	}
}

// withheld are claims that say nothing of the person and serve the protocol alone.
func withheld(name string) bool {
	return name == "nonce" || name == "at_hash" || name == "c_hash" || name == "s_hash"
}

// claimRows makes the claims readable.
func claimRows(list []authn.SourcedClaim) []views.Claim {
	var rows []views.Claim
	for _, claim := range list {
		if withheld(claim.Name) {
			continue
		}
		rows = append(rows, views.Claim{
			Name: claim.Name, Label: claimLabel(claim.Name), Value: claimValue(claim.Claim), Source: string(claim.Source),
		})
	}
	return rows
}

// claimValue chooses the form that fits a value.
func claimValue(claim authn.Claim) views.ClaimValue {
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

// claimTime reads the claims that are times by their standard.
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

// claimsJSON writes the claims as one indented object, in the order of the rows.
func claimsJSON(list []authn.SourcedClaim) string {
	var object bytes.Buffer
	object.WriteByte('{')
	for _, claim := range list {
		if withheld(claim.Name) {
			continue
		}
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

// plainValue is a value as a short text: a string without its quotes, anything else
// as JSON.
func plainValue(raw []byte) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return strings.TrimSpace(string(raw))
}
