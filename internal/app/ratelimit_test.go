package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
)

// TestSignInsAreLimited (DO-05, DO-14) begins sign-ins from several addresses, as a trusted
// proxy tells them.
func TestSignInsAreLimited(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t, "TRUSTED_PROXIES=127.0.0.0/8")
	login := func(address string) apptest.Answer {
		t.Helper()
		v := s.Visitor()
		return v.Direct(v.Request(http.MethodGet, "/login?return_to=%2Fprofile", nil, "X-Forwarded-For", address))
	}
	// until returns how many sign-ins an address may begin at once.
	until := func(address func(i int) string) int {
		t.Helper()
		for i := range 500 {
			got := login(address(i))
			if got.StatusCode == http.StatusTooManyRequests {
				if got.Header.Get("Retry-After") != "1" || len(got.Cookies()) > 0 {
					t.Errorf("refused with Retry-After %q and cookies %v", got.Header.Get("Retry-After"), got.Cookies())
				}
				if !strings.Contains(got.Body, `href="/profile">Try again<`) {
					t.Errorf("the way on is lost:\n%s", got.Body)
				}
				return i
			}
			if got.StatusCode != http.StatusSeeOther {
				t.Fatalf("answered %d", got.StatusCode)
			}
		}
		return 500
	}
	same := func(address string) func(int) string { return func(int) string { return address } }
	if n := until(same("192.0.2.1")); n != 100 {
		t.Errorf("one address may begin %d at once, want 100", n)
	}
	if got := login("192.0.2.2"); got.StatusCode != http.StatusSeeOther {
		t.Errorf("another address is answered %d", got.StatusCode)
	}
	if n := until(func(i int) string { return fmt.Sprintf("2001:db8:1:2:%x::1", i) }); n != 100 {
		t.Errorf("one IPv6 network may begin %d at once, want 100", n)
	}
	if got := login("2001:db8:1:3::1"); got.StatusCode != http.StatusSeeOther {
		t.Errorf("another IPv6 network is answered %d", got.StatusCode)
	}
	if got := login("::ffff:192.0.2.1"); got.StatusCode != http.StatusTooManyRequests {
		t.Errorf("the same address in IPv6's form is answered %d", got.StatusCode)
	}
	clock.Move(time.Second)
	for i := range 6 {
		want := http.StatusSeeOther
		if i == 5 {
			want = http.StatusTooManyRequests
		}
		if got := login("192.0.2.1"); got.StatusCode != want {
			t.Errorf("a second later, number %d is answered %d, want %d", i, got.StatusCode, want)
		}
	}
	v := s.Visitor()
	if got := v.Direct(v.Request(http.MethodGet, "/", nil, "X-Forwarded-For", "192.0.2.1")); got.StatusCode != http.StatusOK {
		t.Errorf("the home page is answered %d", got.StatusCode)
	}
}

// TestSignInsOfAPassingProxyAreNot (DO-14) has everybody come from one loopback address, as
// behind a proxy that nobody has named.
func TestSignInsOfAPassingProxyAreNot(t *testing.T) {
	t.Parallel()
	s, _ := apptest.Assemble(t)
	for range 300 {
		v := s.Visitor()
		if got := v.Direct(v.Request(http.MethodGet, "/login", nil, "X-Forwarded-For", "192.0.2.1")); got.StatusCode != http.StatusSeeOther {
			t.Fatalf("answered %d", got.StatusCode)
		}
	}
}
