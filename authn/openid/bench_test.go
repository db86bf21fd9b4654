package openid_test

import (
	"fmt"
	"strings"
	"testing"

	"latchkey/authn/openid"
)

// BenchmarkClaims lists the claims of a person with many, and compares them with those before a
// refresh. The time for each claim must not grow with their number.
func BenchmarkClaims(b *testing.B) {
	for _, n := range []int{22, 220, 2200} {
		claims := func(value string) openid.Claims {
			members := make([]string, n)
			for i := range members {
				members[i] = fmt.Sprintf(`"https://example.com/claim-%d":%q`, i, value)
			}
			return openid.Claims("{" + strings.Join(members, ",") + "}")
		}
		before, after := claims("before"), claims("after")
		person := openid.Identity{IDToken: before, UserInfo: after}
		for name, list := range map[string]func(){
			"list":    func() { person.Claims() },
			"changes": func() { openid.Changes(before, after) },
			"refresh": func() { p := person; p.SetIDToken(&openid.IDToken{Claims: after}) },
		} {
			b.Run(fmt.Sprintf("%s-%d", name, n), func(b *testing.B) {
				for b.Loop() {
					list()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/claim")
			})
		}
	}
}
