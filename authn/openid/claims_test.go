package openid_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authn/openid"
)

func TestClaimsAreOneObjectThatNobodyReadsTwoWays(t *testing.T) {
	t.Parallel()
	for document, accepted := range map[string]bool{
		`{}`: true, `{"sub":"a"}`: true, ` { "sub" : "a" } `: true, `{"sub":"a","SUBJECT":"b"}`: true, `{"a":1,"A":2}`: true,
		`{"subs":"a","sub":"b"}`: true, `{"a":{"sub":1,"sub":2}}`: true, `{"":1}`: true, `{"\u0073ub":"a"}`: true,

		``: false, `null`: false, `[]`: false, `"a"`: false, `1`: false, `{`: false, `}`: false, `{"sub"}`: false, `{"sub":}`: false,
		`{"sub":"a",}`: false, `{"sub":"a"`: false, `{'sub':'a'}`: false, `{"sub":"a"}}`: false, `{"sub":"a"}{"sub":"b"}`: false,
		`{"sub":"a"} x`: false, `{"sub":"a"},`: false, `[{"sub":"a"}]`: false, "\ufeff{}": false, `{"sub":NaN}`: false,

		`{"sub":"a","sub":"b"}`: false, `{"sub":"a","sub":"a"}`: false, `{"a":1,"a":2}`: false, `{"sub":"a","\u0073ub":"b"}`: false,
		`{"":1,"":2}`: false, `{"sub":"a","x":1,"y":2,"sub":"b"}`: false,

		`{"SUB":"a"}`: false, `{"Sub":"a"}`: false, `{"sub":"a","Sub":"b"}`: false, `{"Aud":"a"}`: false, `{"ISS":"a"}`: false,
		`{"Exp":1}`: false, `{"Nonce":"a"}`: false, `{"AZP":"a"}`: false, `{"At_Hash":"a"}`: false, `{"Iat":1}`: false,
		`{"NBF":1}`: false, `{"\u017fub":"a"}`: false, `{"i\u017fs":"a"}`: false,

		`{"SID":"S-1-5-21"}`: true, `{"sid":"a","SID":"b"}`: true, `{"Events":{}}`: true, `{"ACR":"a"}`: true, `{"JTI":"a"}`: true,
		`{"ſid":"a"}`: true, `{"Auth_Time":"a"}`: true, `{"Org_ID":"a"}`: true, `{"Session_Expiry":"a"}`: true,
	} {
		c, err := openid.ParseStrict([]byte(document))
		if (err == nil) != accepted {
			t.Errorf("%s: error %v, want accepted %t", document, err, accepted)
		}
		list := openid.Claims(document).List()
		if accepted && len(list) != len(c.Raw()) {
			t.Errorf("%s: List returns %v", document, list)
		}
	}
	for _, document := range []string{``, `null`, `[]`, `{"a":1,"a":2}`, `{"a":1}{}`} {
		if list := openid.Claims(document).List(); list != nil {
			t.Errorf("%s: List returns %v", document, list)
		}
	}
}

// TestNamesakes shows that a name in another case is neither taken for the claim nor refused.
func TestNamesakes(t *testing.T) {
	t.Parallel()
	c, err := openid.ParseStrict([]byte(`{"SID":"b","sid":"a","Sid":"c","ACR":["x"],"Events":"e"}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"sid": "a", "acr": "", "events": ""} {
		if got, err := c.String(name); got != want || err != nil {
			t.Errorf("%s is %q, error %v; want %q", name, got, err, want)
		}
	}
}

func TestClaimsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	document := openid.Claims(`{"z":1,"sub":"x","a":{"b":[1, 2]},"M":null,"b":false}`)
	var got []string
	for _, claim := range document.List() {
		got = append(got, claim.Name+"="+string(claim.Value))
	}
	if want := []string{"z=1", "sub=\"x\"", `a={"b":[1, 2]}`, "M=null", "b=false"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if list := openid.Claims(nil).List(); len(list) != 0 {
		t.Errorf("without claims, List returns %v", list)
	}
}

func TestClaimsOfTheirType(t *testing.T) {
	t.Parallel()
	c := openid.Claims(`{"text":"a","empty":"","number":1,"true":true,"yes":"true","false":false,"no":"false","null":null,"list":["a"],"True":"True"}`)
	for name, want := range map[string]string{"text": "a", "empty": "", "number": "", "true": "", "yes": "true", "null": "", "list": "", "absent": ""} {
		if got := c.String(name); got != want {
			t.Errorf("String(%q) is %q, want %q", name, got, want)
		}
	}
	for _, claim := range c.List() {
		if got, want := claim.IsTrue(), claim.Name == "true" || claim.Name == "yes"; got != want {
			t.Errorf("%s: IsTrue is %t, want %t", claim.Name, got, want)
		}
	}
}

func TestStrictStringsAndAudiences(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]struct {
		text      string
		isText    bool
		audience  []string
		isAnybody bool
	}{
		`"a"`:       {"a", true, []string{"a"}, true},
		`""`:        {"", true, []string{""}, true},
		`["a","b"]`: {"", false, []string{"a", "b"}, true},
		`[]`:        {"", false, []string{}, true},
		`null`:      {"", true, []string{}, true},
		`1`:         {}, `true`: {}, `{"a":"b"}`: {}, `[1]`: {}, `["a",null]`: {}, `[["a"]]`: {}, `["a",1]`: {},
	} {
		c, err := openid.ParseStrict([]byte(`{"sub":` + value + `,"aud":` + value + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.String("sub"); got != want.text || (err == nil) != want.isText {
			t.Errorf("sub %s is %q, error %v", value, got, err)
		}
		if got, err := c.Audience(); !slices.Equal(got, want.audience) || (err == nil) != want.isAnybody {
			t.Errorf("aud %s is %q, error %v", value, got, err)
		}
	}
	none, err := openid.ParseStrict([]byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := none.String("sub"); got != "" || err != nil {
		t.Errorf("no sub is %q, error %v", got, err)
	}
	if got, err := none.Audience(); err == nil {
		t.Errorf("no aud is %q", got)
	}
}

func TestStrictTimes(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Time{
		"1": time.Unix(1, 0), "1700000000": time.Unix(1700000000, 0), "1.7e9": time.Unix(1700000000, 0),
		"1700000000.5": time.Unix(1700000000, 5e8), "1099511627776": time.Unix(1<<40, 0),
		"0": {}, "-1": {}, "0.0": {}, "-1700000000": {}, "-62135596800": {}, "-62135596801": {}, "1099511627777": {}, "1e300": {}, "1e999": {},
		`"1700000000"`: {}, `""`: {}, "null": {}, "true": {}, "[1]": {}, "{}": {},
	} {
		c, err := openid.ParseStrict([]byte(`{"exp":` + value + `}`))
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Time("exp")
		written := value == "0" || value == "0.0" || value == `""` || value == "null" || value == "-62135596800" // as absent
		if !got.Equal(want) || (err == nil) != (written || !want.IsZero()) {
			t.Errorf("exp %s is %s, error %v", value, got, err)
		}
		if absent, err := c.Time("iat"); !absent.IsZero() || err != nil {
			t.Errorf("no iat is %s, error %v", absent, err)
		}
	}
}

func TestIdentityListsEveryClaimOnceWithItsSource(t *testing.T) {
	t.Parallel()
	i := openid.Identity{
		IDToken:  openid.Claims(`{"iss":"i","sub":"s","sid":"1","email":"old","roles":["a"],"amr":["pwd"]}`),
		UserInfo: openid.Claims(`{"sub":"other","sid":"2","email":"new","name":"N","acr":"high","roles":[]}`),
	}
	var got []string
	for _, c := range i.Claims() {
		got = append(got, string(c.Source)+": "+c.Name+"="+string(c.Value))
	}
	want := []string{
		`ID token: iss="i"`, `ID token: sub="s"`, `ID token: sid="1"`, `userinfo: email="new"`, `userinfo: roles=[]`,
		`ID token: amr=["pwd"]`, `userinfo: name="N"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"sub":"a","aud":["b"],"exp":1.5}`, `{"sub":"a","Sub":"b"}`, `{"a":1,"a":2}`, `{"a":1} {}`, `{"\u017fub":1}`,
		`{"exp":1e999}`, `{"aud":null}`, `[]`, "{\"\xff\":1}", strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		c, err := openid.ParseStrict(document)
		list := openid.Claims(document).List()
		if err != nil {
			return
		}
		var plain map[string]json.RawMessage
		if err := json.Unmarshal(document, &plain); err != nil || len(plain) != len(c.Raw()) || len(list) != len(plain) {
			t.Fatalf("encoding/json reads %d members (%v), List %d, ParseStrict %d", len(plain), err, len(list), len(c.Raw()))
		}
		for _, claim := range list {
			if value, ok := plain[claim.Name]; !ok || string(value) != string(claim.Value) {
				t.Fatalf("List reads %q as %s, encoding/json as %s", claim.Name, claim.Value, value)
			}
		}
		// Another reader, which decodes into a struct and ignores case, must read the same
		// values.
		var folded struct {
			Sub json.RawMessage `json:"sub"`
			Exp json.RawMessage `json:"exp"`
		}
		if err := json.Unmarshal(document, &folded); err != nil || string(folded.Sub) != string(plain["sub"]) || string(folded.Exp) != string(plain["exp"]) {
			t.Fatalf("another reader reads %s and %s (%v)", folded.Sub, folded.Exp, err)
		}
		_, _ = c.Audience()
		for name := range plain {
			_, _ = c.String(name)
			if at, err := c.Time(name); err == nil && !at.IsZero() && at.Unix() < 0 {
				t.Fatalf("%s is the time %s", name, at)
			}
		}
	})
}
