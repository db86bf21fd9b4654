package views_test

import (
	"bytes"
	"strconv"
	"testing"

	"latchkey/views"
)

// BenchmarkClaimsCard renders the claims of a person. Most of its cost is for each claim.
func BenchmarkClaimsCard(b *testing.B) {
	var list []views.Claim
	for i := range 20 {
		list = append(list, views.Claim{Name: "claim_" + strconv.Itoa(i), Label: "Claim", Value: views.ClaimValue{Text: "value " + strconv.Itoa(i)}})
	}
	list[0].Value = views.ClaimValue{Kind: views.ClaimTime, Time: noon}
	list[1].Value = views.ClaimValue{Kind: views.ClaimBool, Bool: true}
	list[2].Value = views.ClaimValue{Kind: views.ClaimList, List: []string{"pwd", "otp"}}
	props := claims(list...)
	var buf bytes.Buffer
	b.ReportAllocs()
	for b.Loop() {
		buf.Reset()
		if err := views.ClaimsCard(props, false).Render(b.Context(), &buf); err != nil {
			b.Fatal(err)
		}
	}
}
