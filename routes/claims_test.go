package routes

import (
	"fmt"
	"testing"

	"latchkey/authn/openid"
)

// BenchmarkClaimRows makes the rows of a person with many claims, all of which a refresh has changed.
// The time for each claim must not grow with their number.
func BenchmarkClaimRows(b *testing.B) {
	for _, n := range []int{22, 220, 2200} {
		var claims []openid.SourcedClaim
		var changes []openid.Change
		for i := range n {
			name, value := fmt.Sprintf("https://example.com/claim-%d", i), []byte(`"after"`)
			claims = append(claims, openid.SourcedClaim{Claim: openid.Claim{Name: name, Value: value}, Source: openid.SourceUserInfo})
			changes = append(changes,
				openid.Change{Name: name, Before: []byte(`"before"`), After: value},
				openid.Change{Name: name + "-removed", Before: value})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				claimRows(claims, changes)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/claim")
		})
	}
}
