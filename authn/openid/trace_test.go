package openid_test

import (
	"strings"
	"testing"

	"latchkey/authn/openid"
)

// TestTraceparent parses what W3C Trace Context section 3.2.2 allows, and nothing else.
func TestTraceparent(t *testing.T) {
	t.Parallel()
	const traceID, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	good := "00-" + traceID + "-" + caller + "-01"
	for header, want := range map[string]string{
		good:                                        traceID,
		"00-" + traceID + "-" + caller + "-00":      traceID,
		"01-" + traceID + "-" + caller + "-ff":      traceID, // a later version
		"01-" + traceID + "-" + caller + "-01-more": traceID,
		"":                                     "",
		"ff-" + traceID + "-" + caller + "-01": "",
		good + "-more":                         "",
		"01-" + traceID + "-" + caller + "-01more": "",
		good[:54]:             "",
		strings.ToUpper(good): "",
		"00-" + strings.Repeat("0", 32) + "-" + caller + "-01":          "",
		"00-" + traceID + "-" + strings.Repeat("0", 16) + "-01":         "",
		"00-" + traceID[:31] + "g-" + caller + "-01":                    "",
		"00_" + traceID + "_" + caller + "_01":                          "",
		"0x-" + traceID + "-" + caller + "-01":                          "",
		"00-" + traceID + "-" + caller + "-0\n":                         "",
		"00-" + traceID[:16] + "-" + traceID[16:] + caller[:15] + "-01": "",
	} {
		trace, ok := openid.ParseTraceparent(header)
		if trace.ID() != want || ok != (want != "") {
			t.Errorf("%q is trace %q, %t", header, trace.ID(), ok)
		}
	}
}
