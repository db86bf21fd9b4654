package authn

import (
	"encoding/json"
	"slices"
	"strings"

	"latchkey/authn/openid"
)

// Rule is what a page asks of a visitor's claims. It applies to the claims as they are now, and
// it fails closed: a claim that is missing, empty or of another type than the rule expects
// meets no rule. No claims meet the zero Rule.
type Rule struct {
	needs []Need
	met   func(claims []openid.SourcedClaim) bool
}

// Need is one claim that a rule looks for, to be shown to a person who lacks it. One of the fields
// after Claim says what it has to be.
type Need struct {
	Claim string
	// Equal is the whole text, Item an item that the list has to include, and Domain where the
	// verified e-mail address has to be. Other is the description that Check got.
	Equal, Item, Domain, Other string
}

// Equals requires a claim to be exactly this string.
func Equals(claim, value string) Rule {
	return check(Need{Claim: claim, Equal: value}, func(raw json.RawMessage) bool {
		var s string
		return json.Unmarshal(raw, &s) == nil && s != "" && s == value
	})
}

// Includes requires a claim to be a list of strings that includes this one. A string that
// contains it is no such list.
func Includes(claim, value string) Rule {
	return check(Need{Claim: claim, Item: value}, func(raw json.RawMessage) bool {
		list, err := openid.Claim{Value: raw}.Strings()
		return err == nil && value != "" && slices.Contains(list, value)
	})
}

// Check requires a claim to pass the application's own check, which gets the claim's JSON
// and is not called for a claim that is missing or null. needs describes what the claim has
// to be, as in "at least 18", which pages show as it is, in every language.
func Check(claim, needs string, passes func(value json.RawMessage) bool) Rule {
	return check(Need{Claim: claim, Other: needs}, passes)
}

func check(need Need, passes func(value json.RawMessage) bool) Rule {
	return Rule{
		needs: []Need{need},
		met: func(claims []openid.SourcedClaim) bool {
			c, ok := find(claims, need.Claim)
			return ok && string(c.Value) != "null" && passes(c.Value)
		},
	}
}

// AnyOf requires that at least one of the rules is met. Without rules, it is never met.
func AnyOf(rules ...Rule) Rule {
	either := Rule{met: func(claims []openid.SourcedClaim) bool {
		return slices.ContainsFunc(rules, func(r Rule) bool { return r.Met(claims) })
	}}
	for _, r := range rules {
		either.needs = append(either.needs, r.needs...)
	}
	return either
}

// From limits a rule to the people of some issuers. If there are several providers, each could otherwise give
// its people any role, and call any address verified.
func From(rule Rule, issuers ...string) Rule {
	limited := rule
	limited.met = func(claims []openid.SourcedClaim) bool {
		var issuer string
		iss, ok := find(claims, "iss")
		return ok && json.Unmarshal(iss.Value, &issuer) == nil && slices.Contains(issuers, issuer) && rule.Met(claims)
	}
	return limited
}

// EmailDomain asks for an e-mail address at a domain, and none of its subdomains, that the
// source of the address marks as verified. An address does not identify a person: it may be
// another person's tomorrow.
func EmailDomain(domain string) Rule {
	return Rule{
		needs: []Need{{Claim: "email", Domain: domain}},
		met: func(claims []openid.SourcedClaim) bool {
			email, ok := find(claims, "email")
			verified, said := find(claims, "email_verified")
			var address string
			return ok && said && email.Source == verified.Source && verified.IsTrue() &&
				json.Unmarshal(email.Value, &address) == nil && addressIsAt(address, domain)
		},
	}
}

// addressIsAt reports whether an address is at a domain. It accepts a single @, so that no two
// readers can disagree on which part is the domain, and only printable ASCII, because letters
// of other scripts look like Latin ones.
func addressIsAt(address, domain string) bool {
	local, host, ok := strings.Cut(address, "@")
	strange := func(r rune) bool { return r <= ' ' || r > '~' }
	return ok && local != "" && domain != "" && !strings.Contains(host, "@") &&
		!strings.ContainsFunc(address, strange) && strings.EqualFold(host, domain)
}

// Met reports whether claims meet the rule.
func (r Rule) Met(claims []openid.SourcedClaim) bool { return r.met != nil && r.met(claims) }

// Needs lists the claims that the rule looks for; each is one way to meet it.
func (r Rule) Needs() []Need { return r.needs }

// find returns the claim of a name.
func find(claims []openid.SourcedClaim, name string) (openid.SourcedClaim, bool) {
	i := slices.IndexFunc(claims, func(c openid.SourcedClaim) bool { return c.Name == name })
	if i < 0 {
		return openid.SourcedClaim{}, false
	}
	return claims[i], true
}
