package routes_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestAddressesAreBounded (DO-04) sends addresses of every length and with any number of
// parameters. The app refuses what is too long before it does anything else.
func TestAddressesAreBounded(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	filled := func(address string, length int) string { return address + strings.Repeat("x", length-len(address)) }
	for name, c := range map[string]struct {
		address string
		want    int
	}{
		"8 KiB":             {filled("/?x=", 8<<10), http.StatusOK},
		"8 KiB and a byte":  {filled("/?x=", 8<<10+1), http.StatusRequestURITooLong},
		"a path of 8 KiB":   {filled("/", 8<<10), http.StatusNotFound},
		"a path of more":    {filled("/", 8<<10+1), http.StatusRequestURITooLong},
		"100 parameters":    {"/?" + strings.Repeat("a&", 99) + "a", http.StatusOK},
		"101 parameters":    {"/?" + strings.Repeat("a&", 100) + "a", http.StatusRequestURITooLong},
		"empty parameters":  {"/?" + strings.Repeat("&", 8000), http.StatusRequestURITooLong},
		"a callback":        {"/callback?" + strings.Repeat("&", 8000), http.StatusRequestURITooLong},
		"a sign-in":         {"/login?return_to=%2Fprofile" + strings.Repeat("&", 100), http.StatusRequestURITooLong},
		"30,000 parameters": {"/?" + strings.Repeat("&", 30_000), http.StatusRequestURITooLong},
	} {
		t.Run(name, func(t *testing.T) {
			got := v.Direct(v.Request(http.MethodGet, c.address, nil))
			if got.StatusCode != c.want {
				t.Errorf("answered %d, want %d", got.StatusCode, c.want)
			}
			if c.want == http.StatusRequestURITooLong && (len(got.Cookies()) > 0 || !strings.Contains(got.Body, "<h1>That address is too long</h1>")) {
				t.Errorf("it sets cookies %v, or says something else:\n%s", got.Cookies(), got.Body)
			}
			apptest.CheckHeaders(t, name, got)
		})
	}

	// A million bytes are not even read: the answer arrives while most have yet to be sent.
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(apptest.Patience)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /?%s", strings.Repeat("&", 64<<10)) // and 900,000 more to come
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("the beginning of a million is answered %v, %v", resp, err)
	}

	// A valid response as long as the limit allows still works.
	callback := s.Visitor()
	response := apptest.WithQuery(t, callback.AuthorizationResponse("/profile"), func(values url.Values) { values.Set("session_state", strings.Repeat("x", 7<<10)) })
	s.WantSignedIn(callback, callback.Callback(response), "alice", "/profile")
}

// TestFloodOfCallbacks (DO-06) sends callbacks of sign-ins that were never started, with no
// cookie and with made-up ones. The app does not call the provider, and reads the store only once for
// a session's cookie. A sign-in that is under way succeeds.
func TestFloodOfCallbacks(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t, "OPS_ADDR=127.0.0.1:0")
	v := s.Visitor()
	response := v.AuthorizationResponse("/profile")
	asked := func() (n int) {
		for _, e := range []scriptedop.Endpoint{scriptedop.JWKS, scriptedop.Token, scriptedop.UserInfo, scriptedop.PAR, scriptedop.Revoke, scriptedop.Other} {
			n += s.OP.Calls(e)
		}
		return n
	}
	reads := func() (n float64) {
		for name, value := range s.Operators().Metrics() {
			if strings.HasPrefix(name, "latchkey_store_call_duration_seconds_count") && !strings.Contains(name, `"ping"`) {
				n += value
			}
		}
		return n
	}
	calls := asked()
	const flood = 300
	madeUp := strings.Repeat("A", 43)
	session, transaction := s.CookieName("session"), s.CookieName("txn_00000000") // every state begins with 00000000
	for name, c := range map[string]struct {
		cookies string
		most    float64 // reads of the store for each callback
	}{
		"no cookie":                {"", 0},
		"a transaction's":          {transaction + "=" + strings.Repeat("A", 400), 0},
		"a session's":              {session + "=" + madeUp + "." + madeUp, 1},
		"a malformed session's":    {session + "=x", 0},
		"a session's and the rest": {session + "=" + madeUp + "." + madeUp + "; " + transaction + "=x; session_ended=x", 1},
	} {
		before := reads()
		for i := range flood {
			state := fmt.Sprintf("%043d", i)
			bot := s.Visitor()
			got := bot.Direct(bot.Request(http.MethodGet, "/callback?code=x&state="+state, nil, "Cookie", c.cookies))
			if got.StatusCode != http.StatusSeeOther && got.StatusCode != http.StatusBadRequest {
				t.Fatalf("%s: answered %d", name, got.StatusCode)
			}
		}
		if n := reads() - before; n > c.most*flood {
			t.Errorf("%s: the store was read %v times for %d callbacks", name, n, flood)
		}
	}
	if n := asked() - calls; n > 0 {
		t.Errorf("the provider was asked %d times", n)
	}
	before := reads()
	s.WantSignedIn(v, v.Callback(response), "alice", "/profile")
	if asked() == calls || reads() == before {
		t.Error("a successful sign-in shows in neither count, so the checks above prove nothing")
	}
}

// TestStrangeRequestsAreCheap (DO-15) sends requests that are expensive to other servers.
// Twice the length must not cost much more than twice the memory. It runs alone because it
// counts allocations. (TestArrows checks that no regular expression meets untrusted text.)
func TestStrangeRequestsAreCheap(t *testing.T) {
	s, _ := apptest.Assemble(t, "LOG_LEVEL=error")
	address := func(prefix, piece string) func(n int) *http.Request {
		return func(n int) *http.Request {
			return httptest.NewRequest(http.MethodGet, prefix+strings.Repeat(piece, n/len(piece)), nil)
		}
	}
	header := func(name, prefix, piece string) func(n int) *http.Request {
		return func(n int) *http.Request {
			r := httptest.NewRequest(http.MethodGet, "/dashboard", nil)
			r.Header.Set(name, prefix+strings.Repeat(piece, 4*n/len(piece)))
			return r
		}
	}
	for name, request := range map[string]func(n int) *http.Request{
		"up and up":           address("/profile", "/.."),
		"up and down":         address("/profile", "/../profile"),
		"here and here":       address("", "/."),
		"nothing but slashes": address("/", "/"),
		"slashes in disguise": address("/", "%2f"),
		"dots in disguise":    address("/", "%2e%2e/"),
		"many parameters":     address("/sessions", "/x/end"),
		"stars and colons":    address("/", ":*"),
		"semicolons":          address("/dashboard;", ";"),
		"a file":              address("/static/", "../"),
		"a return path":       address("/login?return_to=", "/.."),
		"a nested one":        address("/login?return_to=", "/login%3freturn_to="),
		"a callback":          address("/callback?state=", "%25"),
		"an issuer":           address("/login?iss=", "http://"),
		"one page's address":  header("HX-Current-URL", "http://localhost", "/.."),
		"cookies":             header("Cookie", "", "a=b; "),
		"sessions":            header("Cookie", "", s.CookieName("session")+"=x; "),
		"transactions":        header("Cookie", "", s.CookieName("txn_xxxxxxxx")+"=x; "),
		"languages":           header("Accept-Language", "", "a-b-c;q=0.1,"),
		"encodings":           header("Accept-Encoding", "", "gzip;q=0,"),
		"a trace":             header("Traceparent", "00-", "0-"),
		"a bearer's dots":     header("Authorization", "Bearer ", "."),
	} {
		t.Run(name, func(t *testing.T) {
			cost := func(n int) (least uint64) {
				for range 3 {
					r := request(n)
					r.Host = strings.TrimPrefix(s.URL, "http://")
					w := httptest.NewRecorder()
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					s.Assembled.Handler.ServeHTTP(w, r)
					runtime.ReadMemStats(&after)
					if used := after.TotalAlloc - before.TotalAlloc; least == 0 || used < least {
						least = used
					}
					if w.Code >= 500 || w.Code == http.StatusRequestURITooLong {
						t.Fatalf("%d bytes are answered %d", n, w.Code)
					}
				}
				return least
			}
			half, whole := cost(3500), cost(7000)
			if whole > 5*half/2+32<<10 {
				t.Errorf("3500 bytes take %d bytes of memory, and 7000 take %d", half, whole)
			}
			t.Logf("%d and %d bytes", half, whole)
		})
	}
	w := httptest.NewRecorder()
	r := address("/", "/../")(10_000 * 4)
	r.Host = strings.TrimPrefix(s.URL, "http://")
	if s.Assembled.Handler.ServeHTTP(w, r); w.Code != http.StatusRequestURITooLong {
		body, _ := io.ReadAll(w.Result().Body)
		t.Errorf("/../ ten thousand times is answered %d\n%s", w.Code, body)
	}
}

// TestSignInsAreLimited (DO-05, DO-14) begins sign-ins from several addresses, which a
// trusted proxy names.
func TestSignInsAreLimited(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t, "TRUSTED_PROXIES=127.0.0.0/8")
	login := func(address string) apptest.Answer {
		t.Helper()
		v := s.Visitor()
		return v.Direct(v.Request(http.MethodGet, "/login?return_to=%2Fprofile", nil, "X-Forwarded-For", address))
	}
	// until returns how many sign-ins an address can begin at once.
	until := func(address func(i int) string) int {
		t.Helper()
		for i := range 500 {
			got := login(address(i))
			if got.StatusCode == http.StatusTooManyRequests {
				if got.Header.Get("Retry-After") != "1" || len(got.Cookies()) > 0 {
					t.Errorf("refused with Retry-After %q and cookies %v", got.Header.Get("Retry-After"), got.Cookies())
				}
				if !strings.Contains(got.Body, `href="/profile">Try again<`) {
					t.Errorf("the page does not lead back:\n%s", got.Body)
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

// TestSignInsOfAPersonAreLimited (SE-13, DO-05) signs one person in until the app refuses, each time in
// another browser, and then another person.
func TestSignInsOfAPersonAreLimited(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	callback := func() (*apptest.Visitor, apptest.Answer) {
		t.Helper()
		v := s.Visitor()
		return v, v.Callback(v.AuthorizationResponse("/profile"))
	}
	signIns := func() (n int, refused *apptest.Visitor, got apptest.Answer) {
		t.Helper()
		for ; n < 500; n++ {
			if refused, got = callback(); got.StatusCode != http.StatusSeeOther {
				return n, refused, got
			}
		}
		return n, refused, got
	}
	n, v, got := signIns()
	if n != 200 || got.Header.Get("Retry-After") != "18" {
		t.Errorf("one person may sign in %d times, want 200; Retry-After is %q", n, got.Header.Get("Retry-After"))
	}
	calls := s.OP.Calls(scriptedop.Token)
	s.WantRefused(v, got, http.StatusTooManyRequests, "person_rate_limited", calls, calls)
	if !strings.Contains(got.Body, "<h1>Too many sign-ins</h1>") {
		t.Errorf("the page says something else:\n%s", got.Body)
	}

	s.OP.SignInAs("bob")
	v, got = callback()
	s.WantSignedIn(v, got, "bob", "/profile")

	s.OP.SignInAs("alice")
	clock.Move(time.Minute)
	if n, _, _ := signIns(); n != 3 {
		t.Errorf("a minute later, the person may sign in %d times, want 3", n)
	}
	clock.Move(time.Hour)
	v, got = callback()
	s.WantSignedIn(v, got, "alice", "/profile")
}

// TestSignInsOfTheProcessAreLimited (DO-05) begins and completes sign-ins from many addresses, each of
// which stays within its own limit. Beginnings and code exchanges have limits of their own, and a
// callback that does not reach the provider counts for neither.
func TestSignInsOfTheProcessAreLimited(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t, "TRUSTED_PROXIES=127.0.0.0/8")
	s.OP.Answer(scriptedop.Token, scriptedop.JSON(400, map[string]any{"error": "invalid_grant"}))
	from := func(i int) []string { return []string{"X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i%30)} }
	var callbacks []func() apptest.Answer
	begin := func(i int) apptest.Answer {
		t.Helper()
		v := s.Visitor()
		got := v.Direct(v.Request(http.MethodGet, "/login?return_to=%2Fprofile", nil, from(i)...))
		if got.StatusCode == http.StatusSeeOther {
			response := v.Direct(v.Request(http.MethodGet, got.Header.Get("Location"), nil)).Header.Get("Location")
			callbacks = append(callbacks, func() apptest.Answer {
				return v.Direct(v.Request(http.MethodGet, response, nil, from(i+15)...))
			})
		}
		return got
	}
	// admitted sends requests until one is refused, and returns how many were not.
	admitted := func(send func(i int) apptest.Answer, otherwise int) int {
		t.Helper()
		for i := range 1000 {
			got := send(i)
			switch {
			case got.StatusCode == http.StatusServiceUnavailable:
				if lines := s.Logged("refused", got.Header.Get("X-Request-Id")); len(lines) != 1 || lines[0]["reason"] != "too_many_sign_ins" || lines[0]["level"] != "WARN" {
					t.Errorf("the log says %v", lines)
				}
				if got.Header.Get("Retry-After") != "1" || !strings.Contains(got.Body, `href="/login?return_to=%2Fprofile">Try again<`) {
					t.Errorf("refused with Retry-After %q\n%s", got.Header.Get("Retry-After"), got.Body)
				}
				return i
			case got.StatusCode != otherwise:
				t.Fatalf("number %d is answered %d", i, got.StatusCode)
			}
		}
		return 1000
	}
	if n := admitted(begin, http.StatusSeeOther); n != 500 {
		t.Errorf("%d sign-ins may begin at once, want 500", n)
	}
	clock.Move(time.Second)
	if n := admitted(begin, http.StatusSeeOther); n != 25 {
		t.Errorf("%d sign-ins may begin in a second, want 25", n)
	}
	for i := range 100 {
		bot := s.Visitor()
		bot.Direct(bot.Request(http.MethodGet, fmt.Sprintf("/callback?code=x&state=%043d", i), nil, "X-Forwarded-For", "198.51.100.1"))
	}
	clock.Move(time.Minute) // for the limits of the addresses
	if n := admitted(func(i int) apptest.Answer { return callbacks[i]() }, http.StatusBadGateway); n != 500 || s.OP.Calls(scriptedop.Token) != 500 {
		t.Errorf("%d codes are exchanged at once with %d requests, want 500", n, s.OP.Calls(scriptedop.Token))
	}
	v := s.Visitor()
	if got := v.Direct(v.Request(http.MethodGet, "/", nil, from(1)...)); got.StatusCode != http.StatusOK {
		t.Errorf("the home page is answered %d", got.StatusCode)
	}
}

// TestSignInsAtOnce (DO-05, DO-16) begins and completes sign-ins while the provider does not answer.
// 256 wait for it, and the next one is refused at once.
func TestSignInsAtOnce(t *testing.T) {
	t.Parallel()
	const most = 256
	for name, tt := range map[string]struct {
		endpoint scriptedop.Endpoint
		env      string
		address  func(v *apptest.Visitor) string
	}{
		"beginnings":     {scriptedop.PAR, "PUSHED_AUTHORIZATION_REQUESTS=always", func(*apptest.Visitor) string { return "/login?return_to=%2Fprofile" }},
		"code exchanges": {scriptedop.Token, "PUSHED_AUTHORIZATION_REQUESTS=never", func(v *apptest.Visitor) string { return v.AuthorizationResponse("/profile") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t, tt.env, "SESSION_STORE=memory", "SESSION_LIMIT=100") // all are one person
			var visitors [most + 1]*apptest.Visitor
			var addresses [most + 1]string
			for i := range visitors {
				visitors[i] = s.Visitor()
				addresses[i] = tt.address(visitors[i])
			}
			release := make(chan struct{})
			s.OP.Answer(tt.endpoint, scriptedop.After(release, s.OP.Correct(tt.endpoint)))
			type answered struct {
				apptest.Answer
				v *apptest.Visitor
			}
			answers := make(chan answered, len(visitors))
			for i, v := range visitors {
				go func() { answers <- answered{v.Callback(addresses[i]), v} }()
			}
			// On a slow machine, some wait for longer than a call to the provider or the store may take.
			limited := func(got answered) bool {
				lines := s.Logged("refused", got.Header.Get("X-Request-Id"))
				return len(lines) == 1 && lines[0]["reason"] == "too_many_sign_ins"
			}
			left, refused := most, <-answers // while the others wait
			for ; !limited(refused) && left > 0; left-- {
				refused = <-answers
			}
			if refused.StatusCode != http.StatusServiceUnavailable || refused.Header.Get("Retry-After") == "" || !limited(refused) {
				t.Errorf("one is answered %d, and not for the limit", refused.StatusCode)
			}
			close(release)
			for range left {
				if got := <-answers; limited(got) {
					t.Errorf("another is answered %d, for the limit", got.StatusCode)
				}
			}
			s.OP.Answer(tt.endpoint, nil)
			if end := refused.v.Get(apptest.Link(t, refused.Answer, "Try again")); end.StatusCode != http.StatusOK || end.Request.URL.Path != "/profile" {
				t.Errorf("trying again ends at %s with %d", end.Request.URL.Path, end.StatusCode)
			}
		})
	}
}

// TestSignInsOfAPassingProxyAreNot (DO-14) begins sign-ins from one loopback address, like a
// proxy that is not configured as trusted, at a provider on this machine.
func TestSignInsOfAPassingProxyAreNot(t *testing.T) {
	t.Parallel()
	s, _ := apptest.Assemble(t)
	for range 600 {
		v := s.Visitor()
		if got := v.Direct(v.Request(http.MethodGet, "/login", nil, "X-Forwarded-For", "192.0.2.1")); got.StatusCode != http.StatusSeeOther {
			t.Fatalf("answered %d", got.StatusCode)
		}
	}
}
