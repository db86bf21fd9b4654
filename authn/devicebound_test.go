package authn_test

import (
	"strings"
	"testing"
	"time"

	"latchkey/authn"
)

// TestBoundCookie (CK-11, CK-08) reads the cookie that proves the key of a session: it counts for that
// session alone, and also under an old application secret until that is removed.
func TestBoundCookie(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, time.November, 2, 12, 10, 0, 0, time.UTC)
	mine := authn.SessionOf("id", "secret")
	old, both, current := newKeys(t, oldSecret), newKeys(t, appSecret, oldSecret), newKeys(t, appSecret)
	value := old.BoundCookie(mine, until)
	changed := []byte(value)
	changed[9] ^= 1 // of the time
	for name, tt := range map[string]struct {
		keys    *authn.Keys
		session *authn.Session
		value   string
		counts  bool
	}{
		"as it is":              {old, mine, value, true},
		"with a new secret":     {both, mine, value, true},
		"of the new secret":     {current, mine, both.BoundCookie(mine, until), true},
		"with another secret":   {current, mine, value, false},
		"of another session":    {old, authn.SessionOf("other", "secret"), value, false},
		"of the id alone":       {old, authn.SessionOf("id", "other"), value, false},
		"with another time":     {old, mine, string(changed), false},
		"too short":             {old, mine, value[:40], false},
		"empty":                 {old, mine, "", false},
		"with another alphabet": {old, mine, strings.Repeat("+", len(value)), false},
		"with something behind": {old, mine, value + "A", false},
	} {
		want := time.Time{}
		if tt.counts {
			want = until
		}
		if got := tt.keys.ProvenUntil(tt.session, tt.value); !got.Equal(want) {
			t.Errorf("%s: it counts until %v, want %v", name, got, want)
		}
	}
}
