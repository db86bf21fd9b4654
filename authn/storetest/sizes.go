package storetest

import (
	"flag"
	"strconv"
	"strings"
	"testing"
)

// Large skips a benchmark with a million sessions or more, which take several minutes and 5 GB of disk or
// memory, unless the flag -bench names the number: -bench Size/1000000.
func Large(b *testing.B, sessions int) {
	b.Helper()
	named := strings.Contains(flag.Lookup("test.bench").Value.String(), strconv.Itoa(sessions))
	if sessions >= 1_000_000 && !named {
		b.Skip("-bench does not name " + strconv.Itoa(sessions))
	}
}
