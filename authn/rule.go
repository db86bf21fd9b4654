package authn

import (
	"encoding/json"
	"slices"
	"strings"
)

// Rule is what a page asks of the claims of whoever comes to it. It is judged by the
// claims as they are now, and it fails closed: a claim that is missing, empty or of another
// type than the rule is about meets no rule. The zero Rule is met by nobody.
type Rule struct {
	needs []Need
	met   func(claims []SourcedClaim) bool
}

// Need is one thing that a rule looks for, to be told to a person who lacks it.
type Need struct {
	// Claim is the claim's name, and Value what it would have to be, in words.
	Claim, Value string
}

// Equals asks that a claim is a string, and this one: to the letter.
func Equals(claim, value string) Rule {
	return Check(claim, "equal to "+value, func(raw json.RawMessage) bool {
		var s string
		return json.Unmarshal(raw, &s) == nil && s != "" && s == value
	})
}

// Includes asks that a claim is a list of strings with this one among them. A string that
// contains it is no such list.
func Includes(claim, value string) Rule {
	return Check(claim, "a list with "+value, func(raw json.RawMessage) bool {
		list, err := stringList(raw)
		return err == nil && value != "" && slices.Contains(list, value)
	})
}

// Check asks that a claim passes a check of the application's own. It is given the
// claim's JSON, and is not asked about a claim that is missing or null. needs says in words
// what the claim has to be, as in "at least 18".
func Check(claim, needs string, passes func(value json.RawMessage) bool) Rule {
	return Rule{
		needs: []Need{{claim, needs}},
		met: func(claims []SourcedClaim) bool {
			c, ok := find(claims, claim)
			return ok && string(c.Value) != "null" && passes(c.Value)
		},
	}
}

// AnyOf asks that one of several rules is met. Of no rules, none is.
func AnyOf(rules ...Rule) Rule {
	either := Rule{met: func(claims []SourcedClaim) bool {
		return slices.ContainsFunc(rules, func(r Rule) bool { return r.Met(claims) })
	}}
	for _, r := range rules {
		either.needs = append(either.needs, r.needs...)
	}
	return either
}

// EmailDomain asks for an e-mail address of a domain, exactly that one and none below
// it, which whoever says the address says is verified. An address is the provider's word
// about a person and not who they are: it may be somebody else's tomorrow.
func EmailDomain(domain string) Rule {
	return Rule{
		needs: []Need{{"email", "a verified address at " + domain}},
		met: func(claims []SourcedClaim) bool {
			email, ok := find(claims, "email")
			verified, said := find(claims, "email_verified")
			var address string
			return ok && said && email.Source == verified.Source && isTrue(verified.Value) &&
				json.Unmarshal(email.Value, &address) == nil && addressIsAt(address, domain)
		},
	}
}

// addressIsAt reports whether an address is of a domain. There is one @ in it, so that no
// two readers can disagree on which part is the domain, and nothing but printable ASCII:
// letters of other scripts look like ours.
func addressIsAt(address, domain string) bool {
	local, host, ok := strings.Cut(address, "@")
	strange := func(r rune) bool { return r <= ' ' || r > '~' }
	return ok && local != "" && domain != "" && !strings.Contains(host, "@") &&
		!strings.ContainsFunc(address, strange) && strings.EqualFold(host, domain)
}

// Met reports whether claims meet the rule.
func (r Rule) Met(claims []SourcedClaim) bool { return r.met != nil && r.met(claims) }

// Needs lists what the rule looks for: all of what it names is one way each to meet it.
func (r Rule) Needs() []Need { return r.needs }

// find returns the claim of a name.
func find(claims []SourcedClaim, name string) (SourcedClaim, bool) {
	i := slices.IndexFunc(claims, func(c SourcedClaim) bool { return c.Name == name })
	if i < 0 {
		return SourcedClaim{}, false
	}
	return claims[i], true
}
