package app_test

import (
	"crypto/rand"
	"io"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/authn/storetest"
	"latchkey/internal/app"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// benched is an app beside a scripted provider, for benchmarks of its handler chain without a
// network. It writes its log as JSON to nowhere.
type benched struct {
	*app.App
	op     *scriptedop.Provider
	cookie string // of a person who is signed in
}

func newBenched(b *testing.B, store string, env ...string) *benched {
	b.Helper()
	op := scriptedop.New(b, scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "RS256")}})
	cfg, err := app.LoadConfig(append([]string{
		"PORT=3000", "OIDC_ISSUER=" + op.Issuer, "AUTH0_CLIENT_ID=" + op.ClientID, "AUTH0_CLIENT_SECRET=" + op.ClientSecret,
		"SESSION_STORE=" + store, "LOG_FORMAT=json", "DATA_DIR=" + b.TempDir(),
	}, env...))
	if err != nil {
		b.Fatal(err)
	}
	a, err := app.New(b.Context(), cfg, io.Discard, func(*app.Settings) {})
	if err != nil {
		b.Fatal(err)
	}
	s := &benched{App: a, op: op}
	s.cookie = s.signIn(b, "auth0|ada")
	return s
}

// signIn begins a session of a person, and returns its cookie. The person has as many claims and tokens as
// Auth0 issues.
func (s *benched) signIn(b *testing.B, subject string) string {
	b.Helper()
	idToken := openid.Claims(`{"iss":"` + s.op.Issuer + `","sub":"` + subject + `","aud":"` + s.op.ClientID + `","exp":1800000000,"iat":1790000000,` +
		`"auth_time":1790000000,"nonce":"3PE7KAKIGIMU6ANUIHBAQQMCTU","sid":"GsJ5kYkLr2n3SbeuV-MAdzcsk0bYgBXM",` + profileClaims + `}`)
	userInfo := openid.Claims(`{"sub":"` + subject + `",` + profileClaims + `}`)
	w := httptest.NewRecorder()
	if _, err := s.Sessions.Start(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/", nil), &authn.SignIn{SignIn: openid.SignIn{
		Identity: openid.Identity{
			Issuer: s.op.Issuer, Subject: subject, IDToken: idToken, UserInfo: userInfo,
			Profile: openid.Profile{Name: "Ada Lovelace", Email: "ada@example.test", EmailVerified: true},
		},
		IDToken: openid.IDToken{IssuedAt: time.Now()},
		Tokens: openid.Tokens{
			Access: openid.Secret(strings.Repeat("a", 900)), Refresh: openid.Secret(strings.Repeat("r", 60)), IDToken: openid.Secret(strings.Repeat("i", 1200)),
			Obtained: time.Now(), Expires: time.Now().Add(24 * time.Hour), Scope: "openid profile email offline_access",
		},
	}}); err != nil {
		b.Error(err)
		return ""
	}
	cookie, _, _ := strings.Cut(w.Result().Cookies()[0].String(), ";")
	return cookie
}

// profileClaims are the claims of a person, which the provider sends in the ID token and as userinfo.
const profileClaims = `"name":"Ada Lovelace","nickname":"ada","picture":"https://pictures.example/ada.png?size=480&default=initials","email":"ada@example.test",` +
	`"email_verified":true,"profile":"https://people.example/staff/ada","website":"https://ada.example/notes?edition=1843","zoneinfo":"Europe/London","updated_at":1790000000,` +
	`"address":{"formatted":"12 St James's Square\nLondon SW1Y 4JH\nUnited Kingdom","street_address":"12 St James's Square","locality":"London","postal_code":"SW1Y 4JH","country":"United Kingdom"},` +
	`"https://example.test/roles":["member","editor","reviewer","auditor"]`

// request returns a request of the person who is signed in, as a browser sends it.
func (s *benched) request(path string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://localhost:3000"+path, nil)
	r.RemoteAddr = "127.0.0.1:1" // which no limit counts
	r.Header.Set("Cookie", s.cookie)
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// compare measures a handler, and compares it with one that only writes the same response. A ratio of 1
// would be as fast. The allocations beyond those of the other handler are the app's own; the rest belongs
// to the benchmark's requests and recorders.
func compare(b *testing.B, handler http.Handler, request func() *http.Request) {
	b.Helper()
	first := httptest.NewRecorder()
	handler.ServeHTTP(first, request())
	if first.Code != http.StatusOK {
		b.Fatalf("the answer is %d %s", first.Code, first.Body)
	}
	body := first.Body.Bytes()
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		maps.Copy(h, first.Header())
		_, _ = w.Write(body)
	})
	const rounds = 2_000
	began, before := time.Now(), allocated()
	for range rounds {
		bare.ServeHTTP(httptest.NewRecorder(), request())
	}
	limit, between := time.Since(began)/rounds, allocated()
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		handler.ServeHTTP(httptest.NewRecorder(), request())
	}
	after := allocated()
	perRequest := func(bare, all uint64) float64 { return float64(all)/float64(b.N) - float64(bare)/rounds }
	b.ReportMetric(perRequest(between.Mallocs-before.Mallocs, after.Mallocs-between.Mallocs), "own-allocs/op")
	b.ReportMetric(perRequest(between.TotalAlloc-before.TotalAlloc, after.TotalAlloc-between.TotalAlloc), "own-B/op")
	b.ReportMetric(float64(limit)*float64(b.N)/float64(b.Elapsed()), "ratio")
}

// allocated returns what the process has allocated so far.
func allocated() (stats runtime.MemStats) {
	runtime.ReadMemStats(&stats)
	return stats
}

// BenchmarkPages measures each kind of page, and the others that are asked for most.
func BenchmarkPages(b *testing.B) {
	s := newBenched(b, "memory")
	stylesheet := regexp.MustCompile(`/static/app\.[0-9a-f]+\.css`).FindString(func() string {
		w := httptest.NewRecorder()
		s.Handler.ServeHTTP(w, s.request("/dashboard"))
		return w.Body.String()
	}())
	for _, page := range []struct {
		name    string
		path    string
		headers []string
	}{
		{"dashboard", "/dashboard", nil},
		{"profile-fragment", "/profile", []string{"HX-Request", "true"}},
		{"home", "/", []string{"Cookie", ""}},
		{"static", stylesheet, nil},
		{"api-me", "/api/me", []string{"Accept", "application/json"}},
	} {
		b.Run(page.name, func(b *testing.B) {
			compare(b, s.Handler, func() *http.Request { return s.request(page.path, page.headers...) })
		})
	}
}

// BenchmarkAccessTokens calls the API with access tokens: of bearers, and bound to a DPoP key, with a new
// proof for each call, which is not measured.
func BenchmarkAccessTokens(b *testing.B) {
	const audience = "https://api.example"
	for _, algorithm := range []string{"bearer", "ES256", "EdDSA", "PS256"} {
		for _, store := range []string{"memory", "file"} {
			b.Run(algorithm+"/"+store, func(b *testing.B) {
				s := newBenched(b, store, "AUTH0_AUDIENCE="+audience)
				var calls []*http.Request
				prepare := func() {
					token := s.op.AccessToken(audience)
					token.Claims["sub"] = rand.Text() // because one caller's proofs are limited
					if algorithm == "bearer" {
						raw := token.Compact()
						for range 1_000 {
							calls = append(calls, s.request("/api/me", "Cookie", "", "Authorization", "Bearer "+raw))
						}
						return
					}
					key := scriptedop.NewKey("", algorithm)
					token.Claims["cnf"] = map[string]any{"jkt": key.Thumbprint()}
					raw := token.Compact()
					for range 1_000 {
						proof := key.Proof(time.Now(), http.MethodGet, "http://localhost:3000/api/me", raw)
						calls = append(calls, s.request("/api/me", "Cookie", "", "Authorization", "DPoP "+raw, "DPoP", proof.Compact()))
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					if len(calls) == 0 {
						b.StopTimer()
						prepare()
						b.StartTimer()
					}
					w := httptest.NewRecorder()
					s.Handler.ServeHTTP(w, calls[0])
					if calls = calls[1:]; w.Code != http.StatusOK {
						b.Fatalf("the answer is %d %s", w.Code, w.Body)
					}
				}
			})
		}
	}
}

// BenchmarkDashboardOfMany visits the dashboards of many people at random. A million people run
// only by name: -bench OfMany/file/1000000.
func BenchmarkDashboardOfMany(b *testing.B) {
	for _, store := range []string{"memory", "file", "redis"} {
		for _, people := range []int{20_000, 1_000_000} {
			b.Run(store+"/"+strconv.Itoa(people), func(b *testing.B) {
				storetest.Large(b, people)
				if store == "redis" {
					store = apptest.StartRedis(b).URL
				}
				s := newBenched(b, store)
				cookies := s.signInMany(b, people)
				compare(b, s.Handler, func() *http.Request {
					return s.request("/dashboard", "Cookie", cookies[mathrand.IntN(len(cookies))])
				})
			})
		}
	}
}

// signInMany begins a session of each of n people, many at a time, and returns their cookies.
func (s *benched) signInMany(b *testing.B, n int) []string {
	b.Helper()
	const workers = 500
	cookies := make([]string, n)
	var begun sync.WaitGroup
	for worker := range workers {
		begun.Go(func() {
			for i := worker; i < n; i += workers {
				cookies[i] = s.signIn(b, "person"+strconv.Itoa(i))
			}
		})
	}
	begun.Wait()
	return cookies
}

// BenchmarkSignIn measures whole sign-ins with the session file: the request, the provider's part, which
// runs in this process too, and the callback. "app-ns" is the time in the app's handlers, which includes
// two requests to the provider and the wait for the disk.
func BenchmarkSignIn(b *testing.B) {
	b.Run("new-people", func(b *testing.B) {
		signIns(b, newBenched(b, "file"), func(i int) string { return "person" + strconv.Itoa(i) })
	})
	// Each sign-in ends another session, because the person has as many as allowed.
	b.Run("people-with-50-sessions", func(b *testing.B) {
		const people, sessions = 100, 50 // one person may not sign in that often
		s := newBenched(b, "file")
		subject := func(i int) string { return "person" + strconv.Itoa(i%people) }
		var begun sync.WaitGroup
		for i := range people {
			begun.Go(func() {
				for range sessions {
					s.signIn(b, subject(i))
				}
			})
		}
		begun.Wait()
		signIns(b, s, subject)
	})
}

// signIns signs in the people whom subject names.
func signIns(b *testing.B, s *benched, subject func(i int) string) {
	b.Helper()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var app time.Duration
	serve := func(r *http.Request) *httptest.ResponseRecorder {
		w, began := httptest.NewRecorder(), time.Now()
		s.Handler.ServeHTTP(w, r)
		app += time.Since(began)
		return w
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.op.SignInAs(subject(i))
		begun := serve(s.request("/login", "Cookie", ""))
		resp, err := browser.Get(begun.Header().Get("Location"))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body) // to keep the connection
		_ = resp.Body.Close()
		location, err := resp.Location()
		if err != nil {
			b.Fatal(err)
		}
		transaction, _, _ := strings.Cut(begun.Header().Get("Set-Cookie"), ";")
		if done := serve(s.request(location.RequestURI(), "Cookie", transaction)); done.Code != http.StatusSeeOther {
			b.Fatalf("the callback answers %d %s", done.Code, done.Body)
		}
	}
	b.ReportMetric(float64(app)/float64(b.N), "app-ns/op")
}

// BenchmarkEventFanOut measures how long it takes until 600 open pages know that their sessions have
// ended.
func BenchmarkEventFanOut(b *testing.B) {
	s := newBenched(b, "memory")
	const pages = 600
	for b.Loop() {
		b.StopTimer()
		var watchers []*authn.Watcher
		var sessions []*authn.Session
		for i := range pages {
			w := httptest.NewRecorder()
			session, err := s.Sessions.Start(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/", nil), &authn.SignIn{SignIn: openid.SignIn{
				Identity: openid.Identity{Issuer: s.op.Issuer, Subject: "watched" + strconv.Itoa(i)}, IDToken: openid.IDToken{IssuedAt: time.Now()},
			}})
			if err != nil {
				b.Fatal(err)
			}
			watcher, err := s.Sessions.Watch(session)
			if err != nil {
				b.Fatal(err)
			}
			watchers, sessions = append(watchers, watcher), append(sessions, session)
		}
		b.StartTimer()
		for _, session := range sessions {
			if err := s.Sessions.End(b.Context(), session, authn.CauseElsewhere); err != nil {
				b.Fatal(err)
			}
		}
		for _, watcher := range watchers {
			<-watcher.Wake()
			if _, err := watcher.Check(b.Context()); err == nil {
				b.Fatal("an ended session goes on")
			}
		}
		b.StopTimer()
		for _, watcher := range watchers {
			watcher.Close()
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/pages, "ns/page")
}
