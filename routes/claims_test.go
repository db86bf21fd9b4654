package routes

import (
	"fmt"
	"testing"

	"latchkey/authn/openid"
	"latchkey/views/messages"
)

// BenchmarkClaimRows makes the rows of a person with many claims, all of which a refresh has changed.
// The time for each claim must not grow with their number.
func BenchmarkClaimRows(b *testing.B) {
	for _, n := range []int{22, 220, 2200} {
		var claims []rankedClaim
		var changes []openid.Change
		for i := range n {
			name, value := fmt.Sprintf("https://example.com/claim-%d", i), []byte(`"after"`)
			claims = append(claims, rankedClaim{SourcedClaim: openid.SourcedClaim{Claim: openid.Claim{Name: name, Value: value}, Source: openid.SourceUserInfo}})
			changes = append(changes,
				openid.Change{Name: name, Before: []byte(`"before"`), After: value},
				openid.Change{Name: name + "-removed", Before: value})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				claimGroups(messages.English(), claims, changes)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/claim")
		})
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`{"formatted":"1 Main St\nLondon"}`:                                         "1 Main St, London",
		`{"street_address":"1 Main St\nFlat 2","locality":"London","country":"GB"}`: "1 Main St, Flat 2, London, GB",
		`{"formatted":"","locality":"London"}`:                                      "London",
		`{"locality":7}`:                                                            "", // shown as JSON, as anything that is no address
		`{}`:                                                                        "",
	} {
		got, ok := address(openid.Claim{Name: "address", Value: []byte(value)})
		if got != want || ok != (want != "") {
			t.Errorf("the address %s is %q, %v; want %q", value, got, ok, want)
		}
	}
	if _, ok := address(openid.Claim{Name: "billing", Value: []byte(`{"locality":"London"}`)}); ok {
		t.Error("a claim of another name is an address")
	}
}

func TestClaimsJSONIsValid(t *testing.T) {
	t.Parallel()
	list := []openid.Claim{
		{Name: "plain", Value: []byte(`"a"`)},
		{Name: "\"quoted\"\\\n<é>", Value: []byte(`1.5`)},
		{Name: "object", Value: []byte(`{"a":{"b":[1,2]}}`)},
		{Name: "list", Value: []byte(`[]`)},
		{Name: "nothing", Value: []byte(`null`)},
	}
	for n := range len(list) + 1 {
		got := claimsJSON(list[:n])
		back := openid.Claims(got).List()
		if len(back) != n {
			t.Fatalf("%d claims are %s", n, got)
		}
		for i, claim := range back {
			if claim.Name != list[i].Name {
				t.Errorf("%q has become %q", list[i].Name, claim.Name)
			}
		}
	}
	if got, want := claimsJSON(list[2:3]), "{\n  \"object\": {\n    \"a\": {\n      \"b\": [\n        1,\n        2\n      ]\n    }\n  }\n}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
