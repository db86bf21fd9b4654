package openid

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Claims is a JSON object with what the provider says of a person, as the provider sent it.
// The zero Claims are empty.
type Claims json.RawMessage

// Claim is one member of Claims.
type Claim struct {
	Name  string
	Value json.RawMessage
}

// IsTrue reports whether a claim is true, or "true": some providers send booleans as strings.
func (c Claim) IsTrue() bool { return string(c.Value) == "true" || string(c.Value) == `"true"` }

// Strings returns a claim that is a list of strings and nothing else.
func (c Claim) Strings() ([]string, error) { return stringList(c.Value) }

// List returns the claims in the order in which the provider sent them.
func (c Claims) List() []Claim {
	list, err := members(c)
	if err != nil {
		return nil // those were refused at sign-in
	}
	return list
}

// String returns a claim that is a string, or "".
func (c Claims) String(name string) string {
	for _, claim := range c.List() {
		if claim.Name == name && claim.Value[0] == '"' {
			return unquote(claim.Value)
		}
	}
	return ""
}

// without returns the claims except those with one of the names.
func (c Claims) without(names []string) Claims {
	left := make(map[string]bool, len(names))
	for _, name := range names {
		left[name] = true
	}
	return object(slices.DeleteFunc(c.List(), func(claim Claim) bool { return left[claim.Name] }))
}

// with returns the claims with another value of one that is there.
func (c Claims) with(name string, value json.RawMessage) Claims {
	list := c.List()
	for i := range list {
		if list[i].Name == name {
			list[i].Value = value
		}
	}
	return object(list)
}

// withMissing returns the claims with those of other that have one of the names and are missing.
func (c Claims) withMissing(other Claims, names ...string) Claims {
	list := c.List()
	have := func(name string) bool { return slices.ContainsFunc(list, func(c Claim) bool { return c.Name == name }) }
	added := false
	for _, claim := range other.List() {
		if slices.Contains(names, claim.Name) && !have(claim.Name) {
			list, added = append(list, claim), true
		}
	}
	if !added {
		return c
	}
	return object(list)
}

// object returns the JSON object that has these members.
func object(list []Claim) Claims {
	object := []byte{'{'}
	for i, claim := range list {
		if i > 0 {
			object = append(object, ',')
		}
		name, _ := json.Marshal(claim.Name) // a string always marshals
		object = append(append(append(object, name...), ':'), claim.Value...)
	}
	return append(object, '}')
}

// identifyingClaims say whom a token is about, for whom it is, and when it is valid. A token must not
// spell one of these names in another case: encoding/json ignores case, and two readers of one token
// must not read different things (RFC 7519 section 4, RFC 8725 section 2.4). Other names may occur in
// another case: a directory's SID is not a sid, and only the exact name counts.
var identifyingClaims = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "azp", "at_hash"}

// members reads the top level of a JSON object. It refuses a member that appears twice. The
// result shares the document's memory. Every page needs it, so it splits the object itself once
// encoding/json has found it valid.
func members(document []byte) ([]Claim, error) {
	if !json.Valid(document) {
		return nil, errors.New("malformed JSON, or more than one JSON value")
	}
	rest := bytes.Trim(document, jsonSpace)
	if rest[0] != '{' {
		return nil, errors.New("not a JSON object")
	}
	rest = rest[1:]
	const usual = 16 // members, for which nothing has to grow
	list, seen := make([]Claim, 0, usual), make(map[string]bool, usual)
	for {
		rest = bytes.TrimLeft(rest, jsonSpace+",")
		if rest[0] == '}' {
			return list, nil
		}
		end := valueEnd(rest)
		name := unquote(rest[:end])
		rest = bytes.TrimLeft(rest[end:], jsonSpace+":")
		end = valueEnd(rest)
		if seen[name] {
			return nil, errors.New("a member appears twice")
		}
		seen[name] = true
		list = append(list, Claim{Name: name, Value: json.RawMessage(rest[:end:end])})
		rest = rest[end:]
	}
}

// jsonSpace is the white space between tokens (RFC 8259 section 2).
const jsonSpace = " \t\r\n"

// valueEnd returns where the value ends that valid JSON begins with.
func valueEnd(valid []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(valid); i++ {
		switch c := valid[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			if quoted = !quoted; !quoted && depth == 0 {
				return i + 1
			}
		case quoted:
		case c == '{' || c == '[':
			depth++
		case depth > 0 && (c == '}' || c == ']'):
			if depth--; depth == 0 {
				return i + 1
			}
		case depth == 0 && (c == '}' || c == ',' || strings.IndexByte(jsonSpace, c) >= 0):
			return i
		}
	}
	return len(valid)
}

// unquote reads a string of valid JSON, as encoding/json does.
func unquote(quoted []byte) string {
	inside := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inside, '\\') < 0 && utf8.Valid(inside) {
		return string(inside)
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // it is valid
	return s
}

// strictClaims are the claims of a token that is being verified. Each is read with the type
// that the standard gives it, and a claim of another type is an error. A claim without a value
// counts as absent: some providers write every member that they know, and set one that does not
// apply to null, "" or, for a time, 0.
type strictClaims map[string]json.RawMessage

// parseClaims parses the claims of a token or a userinfo response.
func parseClaims(document []byte) (strictClaims, error) {
	c, err := parseStrict(document)
	if err != nil {
		return nil, err
	}
	for name := range c {
		i := slices.IndexFunc(identifyingClaims, func(p string) bool { return p != name && strings.EqualFold(p, name) })
		if i >= 0 {
			return nil, fmt.Errorf("the claim %s is misspelt", identifyingClaims[i])
		}
	}
	return c, nil
}

// parseStrict parses a JSON object.
func parseStrict(document []byte) (strictClaims, error) {
	list, err := members(document)
	if err != nil {
		return nil, err
	}
	c := make(strictClaims, len(list))
	for _, claim := range list {
		c[claim.Name] = claim.Value
	}
	return c, nil
}

// has reports whether a claim is there and not written as absent.
func (c strictClaims) has(name string) bool { return !absent(c[name]) }

// mentions reports whether a claim is there, even if it is written as absent.
func (c strictClaims) mentions(name string) bool { _, ok := c[name]; return ok }

// absent reports whether a member is not there, or says that it is not.
func absent(raw json.RawMessage) bool {
	return len(raw) == 0 || string(raw) == "null" || string(raw) == `""`
}

// string returns a claim that must be a string if it is there; "" if it is not.
func (c strictClaims) string(name string) (string, error) {
	switch {
	case !c.has(name):
		return "", nil
	case c[name][0] != '"':
		return "", fmt.Errorf("%s is not a string", name)
	}
	return unquote(c[name]), nil
}

// bool returns a member that must be a boolean, which some providers send as a string; false if it
// is not there.
func (c strictClaims) bool(name string) (bool, error) {
	switch string(c[name]) {
	case "true", `"true"`:
		return true, nil
	case "", "null", `""`, "false", `"false"`:
		return false, nil
	}
	return false, fmt.Errorf("%s is not a boolean", name)
}

// zeroTime is the first second of the year 1, which .NET and Go write for a time that is not set.
const zeroTime = -62_135_596_800

// time returns a claim that must be a NumericDate if it is there (RFC 7519 section 2); the
// zero time if it is not.
func (c strictClaims) time(name string) (time.Time, error) {
	var seconds float64
	if c.has(name) && json.Unmarshal(c[name], &seconds) != nil {
		return time.Time{}, fmt.Errorf("%s is not a number", name)
	}
	switch {
	case seconds == 0, seconds == zeroTime:
		return time.Time{}, nil
	case seconds < 0, seconds > 1<<40:
		return time.Time{}, fmt.Errorf("%s is out of range", name)
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), nil
}

// audience returns aud, which is a string or an array of strings (RFC 7519 section
// 4.1.3).
func (c strictClaims) audience() ([]string, error) {
	var one *string
	if json.Unmarshal(c["aud"], &one) == nil && one != nil {
		return []string{*one}, nil
	}
	many, err := stringList(c["aud"])
	if err != nil {
		return nil, errors.New("aud is not a string or a list of strings")
	}
	return many, nil
}

// stringList reads a list of strings and nothing else.
func stringList(raw json.RawMessage) ([]string, error) {
	var many []*string
	if err := json.Unmarshal(raw, &many); err != nil || slices.Contains(many, nil) {
		return nil, errors.New("not a list of strings")
	}
	list := make([]string, len(many))
	for i, s := range many {
		list[i] = *s
	}
	return list, nil
}
