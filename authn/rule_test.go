package authn_test

import (
	"encoding/json"
	"strings"
	"testing"

	"latchkey/authn"
	"latchkey/authn/openid"
)

const roles = "https://app.example/roles"

// identity returns a person with these claims in the ID token and in userinfo.
func identity(idToken, userInfo string) openid.Identity {
	return openid.Identity{IDToken: openid.Claims(idToken), UserInfo: openid.Claims(userInfo)}
}

func TestRules(t *testing.T) {
	t.Parallel()
	adult := authn.Check("age", "at least 18", func(value json.RawMessage) bool {
		var years int
		return json.Unmarshal(value, &years) == nil && years >= 18
	})
	everything := authn.Check(roles, "anything", func(json.RawMessage) bool { return true })
	includes, equals := authn.Includes(roles, "auditor"), authn.Equals("department", "audit")
	either := authn.AnyOf(includes, equals)
	for name, tt := range map[string]struct {
		rule   authn.Rule
		claims string
		want   bool
	}{
		"includes: the one of a list":        {includes, `{"` + roles + `":["auditor"]}`, true},
		"includes: one of a list":            {includes, `{"` + roles + `":["reader","auditor"]}`, true},
		"includes: others":                   {includes, `{"` + roles + `":["reader"]}`, false},
		"includes: missing":                  {includes, `{}`, false},
		"includes: no claims at all":         {includes, ``, false},
		"includes: no JSON":                  {includes, `{"` + roles + `":["auditor"]`, false},
		"includes: the claim twice":          {includes, `{"` + roles + `":["auditor"],"` + roles + `":["auditor"]}`, false},
		"includes: an empty list":            {includes, `{"` + roles + `":[]}`, false},
		"includes: null":                     {includes, `{"` + roles + `":null}`, false},
		"includes: a string":                 {includes, `{"` + roles + `":"auditor"}`, false},
		"includes: a string with it":         {includes, `{"` + roles + `":"reader auditor"}`, false},
		"includes: an object":                {includes, `{"` + roles + `":{"auditor":true}}`, false},
		"includes: a list in a list":         {includes, `{"` + roles + `":[["auditor"]]}`, false},
		"includes: a list of other types":    {includes, `{"` + roles + `":["auditor",5]}`, false},
		"includes: a list with null":         {includes, `{"` + roles + `":["auditor",null]}`, false},
		"includes: another case":             {includes, `{"` + roles + `":["Auditor"]}`, false},
		"includes: a part":                   {includes, `{"` + roles + `":["auditors","audito"]}`, false},
		"includes: a space":                  {includes, `{"` + roles + `":["auditor "]}`, false},
		"includes: the claim in capitals":    {includes, `{"` + strings.ToUpper(roles) + `":["auditor"]}`, false},
		"includes: in another claim":         {includes, `{"roles":["auditor"]}`, false},
		"includes: nothing, of a list of it": {authn.Includes(roles, ""), `{"` + roles + `":[""]}`, false},
		"equals":                             {equals, `{"department":"audit"}`, true},
		"equals: another case":               {equals, `{"department":"Audit"}`, false},
		"equals: more":                       {equals, `{"department":"audit and more"}`, false},
		"equals: a list of it":               {equals, `{"department":["audit"]}`, false},
		"equals: missing":                    {equals, `{}`, false},
		"equals: null":                       {equals, `{"department":null}`, false},
		"equals: nothing, of nothing":        {authn.Equals("department", ""), `{"department":""}`, false},
		"any of: the first":                  {either, `{"` + roles + `":["auditor"]}`, true},
		"any of: the second":                 {either, `{"department":"audit"}`, true},
		"any of: neither":                    {either, `{"department":"sales","` + roles + `":[]}`, false},
		"any of: none at all":                {authn.AnyOf(), `{"department":"audit"}`, false},
		"any of: nobody's rule":              {authn.AnyOf(authn.Rule{}), `{"department":"audit"}`, false},
		"an own check":                       {adult, `{"age":18}`, true},
		"an own check: not passed":           {adult, `{"age":17}`, false},
		"an own check: another type":         {adult, `{"age":"18"}`, false},
		"an own check: missing":              {everything, `{}`, false},
		"an own check: null":                 {everything, `{"` + roles + `":null}`, false},
		"an own check: anything":             {everything, `{"` + roles + `":0}`, true},
		"from: another issuer":               {authn.From(includes, "https://work.example"), `{"iss":"https://customer.example","` + roles + `":["auditor"]}`, false},
		"from: no issuer":                    {authn.From(includes, "https://work.example"), `{"` + roles + `":["auditor"]}`, false},
		"from: none at all":                  {authn.From(includes), `{"iss":"","` + roles + `":["auditor"]}`, false},
		"the zero rule":                      {authn.Rule{}, `{"department":"audit"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tt.rule.Met(identity(tt.claims, "").Claims()); got != tt.want {
				t.Errorf("the ID token satisfies the rule: %t", got)
			}
			if got := tt.rule.Met(identity(`{}`, tt.claims).Claims()); got != tt.want {
				t.Errorf("userinfo satisfies the rule: %t", got)
			}
		})
	}
}

// TestRulesAndSources gives the ID token and userinfo different claims.
func TestRulesAndSources(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rule              authn.Rule
		idToken, userInfo string
		want              bool
	}{
		"userinfo gives a role":         {authn.Includes(roles, "auditor"), `{"` + roles + `":[]}`, `{"` + roles + `":["auditor"]}`, true},
		"userinfo takes a role":         {authn.Includes(roles, "auditor"), `{"` + roles + `":["auditor"]}`, `{"` + roles + `":[]}`, false},
		"from: the issuer":              {authn.From(authn.Includes(roles, "auditor"), "https://home.example", "https://work.example"), `{"iss":"https://work.example"}`, `{"` + roles + `":["auditor"]}`, true},
		"from: not met":                 {authn.From(authn.Includes(roles, "auditor"), "https://work.example"), `{"iss":"https://work.example"}`, `{}`, false},
		"from: userinfo speaks of iss":  {authn.From(authn.Includes(roles, "auditor"), "https://work.example"), `{"` + roles + `":["auditor"]}`, `{"iss":"https://work.example"}`, false},
		"userinfo speaks of acr":        {authn.Equals("acr", "mfa"), `{"acr":"pwd"}`, `{"acr":"mfa"}`, false},
		"userinfo alone speaks of acr":  {authn.Equals("acr", "mfa"), `{}`, `{"acr":"mfa"}`, false},
		"the ID token speaks of acr":    {authn.Equals("acr", "mfa"), `{"acr":"mfa"}`, `{"acr":"pwd"}`, true},
		"userinfo alone speaks of org":  {authn.Equals("org_id", "org_1"), `{}`, `{"org_id":"org_1"}`, false},
		"ID-22 one address, verified":   {authn.EmailDomain("corp.example"), `{}`, `{"email":"a@corp.example","email_verified":true}`, true},
		"ID-22 another is verified":     {authn.EmailDomain("corp.example"), `{"email":"a@home.example","email_verified":true}`, `{"email":"a@corp.example"}`, false},
		"ID-22 verified elsewhere only": {authn.EmailDomain("corp.example"), `{"email_verified":true}`, `{"email":"a@corp.example"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tt.rule.Met(identity(tt.idToken, tt.userInfo).Claims()); got != tt.want {
				t.Errorf("the rule is satisfied: %t", got)
			}
		})
	}
}

// TestEmailDomain (ID-22) checks addresses that two parsers could read differently.
func TestEmailDomain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		address, verified any
		want              bool
	}{
		"ID-22 an address":               {"a@corp.example", true, true},
		"ID-22 a tag":                    {"a+b@corp.example", true, true},
		"ID-22 in capitals":              {"A@CORP.EXAMPLE", true, true},
		"ID-22 verified as a text":       {"a@corp.example", "true", true},
		"ID-22 not verified":             {"a@corp.example", false, false},
		"ID-22 nobody says":              {"a@corp.example", nil, false},
		"ID-22 verified, a number":       {"a@corp.example", 1, false},
		"ID-22 verified, another text":   {"a@corp.example", "True", false},
		"ID-22 two at signs":             {"a@evil@corp.example", true, false},
		"ID-22 two, the other way round": {"a@corp.example@evil", true, false},
		"ID-22 one quoted":               {`"a@evil"@corp.example`, true, false},
		"ID-22 no at sign":               {"corp.example", true, false},
		"ID-22 no local part":            {"@corp.example", true, false},
		"ID-22 longer":                   {"a@corp.example.evil", true, false},
		"ID-22 a suffix":                 {"a@evilcorp.example", true, false},
		"ID-22 below it":                 {"a@sub.corp.example", true, false},
		"ID-22 a dot at the end":         {"a@corp.example.", true, false},
		"ID-22 a space":                  {"a@corp.example ", true, false},
		"ID-22 a line break":             {"a@evil.example\n@corp.example", true, false},
		"ID-22 NUL":                      {"a@corp.example\x00.evil", true, false},
		"ID-22 a Cyrillic o":             {"a@cоrp.example", true, false},
		"ID-22 a full-width at sign":     {"a@evil.example＠corp.example", true, false},
		"ID-22 a Kelvin sign":            {"\u212a@corp.example", true, false},
		"ID-22 a long s":                 {"a@corp.example\u017f", true, false},
		"ID-22 a list":                   {[]string{"a@corp.example"}, true, false},
		"ID-22 empty":                    {"", true, false},
		"ID-22 missing":                  {nil, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claims := map[string]any{"email": tt.address, "email_verified": tt.verified}
			for name, value := range claims {
				if value == nil {
					delete(claims, name)
				}
			}
			document, err := json.Marshal(claims)
			if err != nil {
				t.Fatal(err)
			}
			if got := authn.EmailDomain("corp.example").Met(identity(string(document), "").Claims()); got != tt.want {
				t.Errorf("%s satisfies the rule: %t", document, got)
			}
		})
	}
	if authn.EmailDomain("").Met(identity(`{"email":"a@","email_verified":true}`, "").Claims()) {
		t.Error("ID-22: an empty domain is satisfied")
	}
	if !authn.EmailDomain("Corp.Example").Met(identity(`{"email":"a@corp.example","email_verified":true}`, "").Claims()) {
		t.Error("ID-22: a domain configured in capitals is not satisfied")
	}
}
