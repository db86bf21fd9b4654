package app

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// BenchmarkOpenStream measures the memory of an open stream, including its connection.
func BenchmarkOpenStream(b *testing.B) {
	const people, each = 100, 6
	cfg, keys := streamingConfig(b)
	s := newStreaming(b, cfg, keys)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s.servers.serve(listener, s.Handler, nil)
	memory := func() uint64 {
		var m runtime.MemStats
		for range 3 { // pools are let go at the second, stacks halved at each
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	for b.Loop() {
		before := memory()
		var open []net.Conn
		for person := range people {
			cookie := s.signIn(b, "person"+strconv.Itoa(person))
			for range each {
				conn, err := net.Dial("tcp", listener.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				if _, err := bufio.NewReaderSize(ask(conn, cookie), 16).ReadString('\n'); err != nil {
					b.Fatal(err)
				}
				open = append(open, conn)
			}
		}
		b.ReportMetric(float64(memory()-before)/(people*each), "B/stream")
		for _, conn := range open {
			_ = conn.Close()
		}
		for s.Sessions.Watching() > 0 {
			runtime.Gosched()
		}
	}
	s.Handler.Drain()
	if err := s.servers.drain(); err != nil {
		b.Error(err)
	}
}

// BenchmarkDashboard measures a signed-in page, without the network and with the fastest
// store.
func BenchmarkDashboard(b *testing.B) {
	cfg, keys := streamingConfig(b)
	s := newStreaming(b, cfg, keys)
	w := httptest.NewRecorder()
	claims := openid.Claims(`{"iss":"http://127.0.0.1:1/","sub":"dev|ada","aud":"app","exp":1800000000,"iat":1790000000,"auth_time":1790000000,"name":"Ada Lovelace","email":"ada@example.test","email_verified":true,"amr":["pwd","otp"],"sid":"x","nonce":"nnn"}`)
	info := openid.Claims(`{"sub":"dev|ada","name":"Ada Lovelace","email":"ada@example.test","email_verified":true,"given_name":"Ada","family_name":"Lovelace","locale":"en-GB","updated_at":1790000000}`)
	if _, err := s.Sessions.Start(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/", nil), &authn.SignIn{SignIn: openid.SignIn{
		Identity: openid.Identity{Issuer: "http://127.0.0.1:1/", Subject: "dev|ada", IDToken: claims, UserInfo: info, Profile: openid.Profile{Name: "Ada Lovelace", Email: "ada@example.test"}}, IDToken: openid.IDToken{IssuedAt: time.Now()},
	}}); err != nil {
		b.Fatal(err)
	}
	cookie, _, _ := strings.Cut(w.Result().Cookies()[0].String(), ";")
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("GET", "http://localhost:3000/dashboard", nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		s.Handler.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Code, w.Body.String())
		}
	}
}
