package interop

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

const (
	public    = "https://app.example.com"
	secretKey = "0123456789abcdef0123456789abcdef"
)

// proxy is a proxy in front of an app: it serves TLS for the app's address, and changes the requests
// that it passes on.
type proxy struct {
	http.RoundTripper
	change func(*http.Request)
}

func (p proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme+"://"+r.URL.Host == public {
		r = r.Clone(r.Context())
		p.change(r)
	}
	return p.RoundTripper.RoundTrip(r)
}

// behind returns a visitor who reaches a public app through a proxy on loopback.
func behind(s *apptest.Scripted, change func(*http.Request)) *apptest.Visitor {
	v := s.Visitor()
	dialer := new(net.Dialer)
	transport := &http.Transport{DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, s.Server.Listener.Addr().String()) // the proxy has taken TLS off
	}}
	s.T.Cleanup(transport.CloseIdleConnections)
	v.Client.Transport = proxy{transport, change}
	return v
}

func startPublic(t *testing.T, env ...string) *apptest.Scripted {
	t.Helper()
	s, _ := apptest.Assemble(t, append(env, "AUTH0_CALLBACK_URL="+public+"/callback", "APP_SECRET_KEY="+secretKey)...)
	return s
}

// TestForwardedAddresses (HB-24) has proxies write X-Forwarded-For in each of their forms, and finds
// the client in the log. What an untrusted peer sends, and what is not an address, does not count.
func TestForwardedAddresses(t *testing.T) {
	t.Parallel()
	const trusted, ipv6, none = "TRUSTED_PROXIES=127.0.0.0/8, 10.0.0.0/8, ::ffff:192.168.0.0/112, fd00::/8", "2001:db8::7", "127.0.0.1"
	for _, tt := range []struct {
		name, proxies string
		forwarded     []string // one element a header
		want          string
	}{
		{"an address", trusted, []string{"203.0.113.7"}, "203.0.113.7"},
		{"with a port", trusted, []string{"203.0.113.7:54321"}, "203.0.113.7"},
		{"IPv6", trusted, []string{ipv6}, ipv6},
		{"IPv6 in brackets", trusted, []string{"[2001:db8::7]"}, ipv6},
		{"IPv6 in brackets with a port", trusted, []string{"[2001:db8::7]:54321"}, ipv6},
		{"IPv6 with a port and without brackets", trusted, []string{"2001:db8::7:54321"}, ipv6},
		{"all of IPv6 with a port and without brackets", trusted, []string{"2001:db8:0:0:0:0:0:7:443"}, ipv6},
		{"IPv6 in capitals", trusted, []string{"2001:DB8:0:0::7"}, ipv6},
		{"IPv6 of an interface", trusted, []string{"fe80::7%eth0"}, "fe80::7"},
		{"IPv6 of an interface in brackets", trusted, []string{"[fe80::7%eth0]:443"}, "fe80::7"},
		{"IPv4 as IPv6", trusted, []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		{"IPv4 as IPv6 with a port", trusted, []string{"[::ffff:203.0.113.7]:54321"}, "203.0.113.7"},
		{"quoted, as in Forwarded", trusted, []string{`"[2001:db8::7]:4711"`}, ipv6},
		{"spaces and tabs", trusted, []string{"198.51.100.1 ,\t203.0.113.7:1 "}, "203.0.113.7"},
		{"two proxies", trusted, []string{"203.0.113.7:54321, 10.0.0.1:443"}, "203.0.113.7"},
		{"three proxies, of each family", trusted, []string{"203.0.113.7, [fd00::1]:80, 192.168.0.9, ::ffff:10.0.0.1"}, "203.0.113.7"},
		{"two headers", trusted, []string{"203.0.113.7:54321", "10.0.0.1"}, "203.0.113.7"},
		{"proxies alone", trusted, []string{"10.0.0.2, 10.0.0.1"}, "10.0.0.2"},

		{"an untrusted peer", "TRUSTED_PROXIES=10.0.0.0/8", []string{"203.0.113.7:54321"}, none},
		{"an untrusted peer that names a proxy", "TRUSTED_PROXIES=10.0.0.0/8", []string{"203.0.113.7, 10.0.0.1"}, none},
		{"no proxy", "TRUSTED_PROXIES=", []string{"203.0.113.7:54321"}, none},
		{"the client's own claim", trusted, []string{"192.0.2.1, 203.0.113.7:54321"}, "203.0.113.7"},
		{"the client's claim to be a proxy", trusted, []string{"192.0.2.1, 10.0.0.9, 203.0.113.7"}, "203.0.113.7"},
		{"unknown", trusted, []string{"192.0.2.1, unknown"}, none},
		{"unknown, behind another proxy", trusted, []string{"192.0.2.1, unknown, 10.0.0.1"}, "10.0.0.1"},
		{"a hidden name", trusted, []string{"192.0.2.1, _hidden"}, none},
		{"a socket", trusted, []string{"192.0.2.1, unix:"}, none},
		{"nothing behind the comma", trusted, []string{"192.0.2.1,"}, none},
		{"a port that is none", trusted, []string{"203.0.113.7:99999"}, none},
		{"a port with a sign", trusted, []string{"203.0.113.7:+1"}, none},
		{"half a bracket", trusted, []string{"[2001:db8::7:443"}, none},
		{"half a quote", trusted, []string{`"203.0.113.7`}, none},
		{"IPv4 in brackets", trusted, []string{"[203.0.113.7]:1"}, none},
		{"leading zeros", trusted, []string{"203.0.113.007"}, none},
		{"a network", trusted, []string{"203.0.113.0/24"}, none},
		{"a name", trusted, []string{"client.example"}, none},
		{"a line of the log", trusted, []string{"203.0.113.7%\"x=1"}, none},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startPublic(t, tt.proxies)
			v := behind(s, func(r *http.Request) { r.Header["X-Forwarded-For"] = tt.forwarded })
			got := v.Get("/nothing")
			lines := s.Logged("request answered", got.Header.Get("X-Request-Id"))
			if len(lines) != 1 || lines[0]["client"] != tt.want {
				t.Errorf("the log says %v, want the client %s", lines, tt.want)
			}
		})
	}
}

// TestOfficeBehindGateway (DO-05) has 150 people sign in behind a gateway that forwards their
// addresses with ports. They share no limit; one address with many ports does.
func TestOfficeBehindGateway(t *testing.T) {
	t.Parallel()
	const people = 150
	s := startPublic(t, "TRUSTED_PROXIES=127.0.0.1/32")
	refused := func(client func(i int) string) (n int) {
		for i := range people {
			v := behind(s, func(r *http.Request) { r.Header.Set("X-Forwarded-For", client(i)) })
			if got := v.Direct(v.Request(http.MethodGet, "/login", nil)); got.StatusCode == http.StatusTooManyRequests {
				n++
			}
		}
		return n
	}
	first := netip.MustParseAddr("203.0.113.1").As4()
	if n := refused(func(i int) string {
		address := first
		address[3] += byte(i)
		return fmt.Sprintf("%s:%d", netip.AddrFrom4(address), 50_000+i)
	}); n > 0 {
		t.Errorf("%d of %d people are refused", n, people)
	}
	if n := refused(func(i int) string { return fmt.Sprintf("198.51.100.1:%d", 50_000+i) }); n != people-100 {
		t.Errorf("%d of %d requests of one address are refused", n, people)
	}
}

// TestHostBehindProxies (HB-25) has proxies change Host. Where the origin is the app's, a person signs
// in, uses forms in a browser without Sec-Fetch-Site, and the provider signs them out.
func TestHostBehindProxies(t *testing.T) {
	t.Parallel()
	const trusted, untrusted = "TRUSTED_PROXIES=127.0.0.1/32", "TRUSTED_PROXIES=10.0.0.0/8"
	for _, tt := range []struct {
		name, proxies, host, forwarded string
		accepted                       bool
	}{
		{"as it is", untrusted, "app.example.com", "", true},
		{"with the default port", untrusted, "app.example.com:443", "", true},
		{"in capitals, with the default port", untrusted, "APP.Example.com:443", "", true},
		{"a tunnel", trusted, "localhost:3000", "app.example.com", true},
		{"a tunnel with the default port", trusted, "127.0.0.1:3000", "app.example.com:443", true},
		{"two proxies", trusted, "internal", "app.example.com, edge.internal:8443", true},
		{"an empty header", trusted, "app.example.com", " ", true},

		{"with another port", trusted, "app.example.com:8443", "", false},
		{"with the port of http", trusted, "app.example.com:80", "", false},
		{"with two ports", trusted, "app.example.com:443:443", "", false},
		{"another name", trusted, "evil.example", "", false},
		{"another name with the default port", trusted, "evil.example:443", "", false},
		{"a name that ends in ours", trusted, "evil-app.example.com", "", false},
		{"an untrusted tunnel", untrusted, "localhost:3000", "app.example.com", false},
		{"no trusted proxy at all", "TRUSTED_PROXIES=", "localhost:3000", "app.example.com", false},
		{"a tunnel from another name", trusted, "app.example.com", "evil.example", false},
		{"two proxies, from another name", trusted, "internal", "evil.example, app.example.com", false},
		{"a tunnel with another port", trusted, "localhost:3000", "app.example.com:3000", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startPublic(t, tt.proxies)
			v := behind(s, func(r *http.Request) {
				r.Host = tt.host
				if tt.forwarded != "" {
					r.Header.Set("X-Forwarded-Host", tt.forwarded)
				}
			})
			reportSignOut := func() apptest.Answer {
				form := url.Values{"logout_token": {s.OP.LogoutToken().Compact()}}
				return v.Send("/backchannel-logout", apptest.FormType, form.Encode())
			}
			if !tt.accepted {
				if got := v.Direct(v.Request(http.MethodGet, "/login", nil)); got.StatusCode != http.StatusMisdirectedRequest || len(got.Cookies()) > 0 {
					t.Errorf("/login is answered with %d and cookies %v", got.StatusCode, got.Cookies())
				}
				// The provider may be in the same network, and its token is signed.
				if got := reportSignOut(); got.StatusCode != http.StatusBadRequest || !strings.Contains(got.Body, "logout_token_invalid") {
					t.Errorf("a logout token of no session is answered with %d %s", got.StatusCode, got.Body)
				}
				return
			}
			s.SignIn(v)
			if got := v.Direct(v.Request(http.MethodPost, "/session/extend", url.Values{}, "Origin", public)); got.StatusCode >= 400 {
				t.Errorf("a form is answered with %d", got.StatusCode)
			}
			if got := v.Direct(v.Request(http.MethodPost, "/session/extend", url.Values{}, "Origin", "https://evil.example")); got.StatusCode != http.StatusForbidden {
				t.Errorf("a form of another site is answered with %d", got.StatusCode)
			}
			if got := reportSignOut(); got.StatusCode != http.StatusOK || v.SignedIn() {
				t.Errorf("the provider's sign-out is answered with %d", got.StatusCode)
			}
		})
	}
}
