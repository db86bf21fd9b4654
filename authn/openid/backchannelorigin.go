package openid

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// backchannel sends requests for the issuer's origin to the origin at which this app reaches the
// provider. The requests keep the issuer's Host header, so that the provider publishes and issues the
// same as for browsers, under the name by which they know it.
type backchannel struct {
	issuer, target *url.URL
	// direct is for the back channel, and uses no proxy. next is for the other origins that
	// metadata names.
	direct, next http.RoundTripper
}

func newBackchannel(cfg Config, next *http.Transport) backchannel {
	direct := next.Clone()
	direct.Proxy = nil
	issuer, _ := url.Parse(cfg.Issuer) // Faults has parsed both
	target, _ := url.Parse(cfg.BackchannelOrigin)
	return backchannel{issuer, target, cfg.transport(direct), cfg.transport(next)}
}

func (b backchannel) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case sameOrigin(req.URL, b.issuer):
	case sameOrigin(req.URL, b.target):
		return b.direct.RoundTrip(req)
	default:
		return b.next.RoundTrip(req)
	}
	there := req.Clone(req.Context()) // a RoundTripper leaves the caller's alone
	there.Host, there.URL.Scheme, there.URL.Host = b.issuer.Host, b.target.Scheme, b.target.Host
	resp, err := b.direct.RoundTrip(there)
	if resp != nil {
		resp.Request = req // a relative Location is at the provider's address
	}
	return resp, err
}

// addBackchannelFaults adds the faults of the back channel's origin. Plain http carries the client
// secret, and keys that anyone on the way could replace, so it is for names and addresses that
// exist on the operator's own network only.
func (c Config) addBackchannelFaults(f *Faults) {
	if c.BackchannelOrigin == "" {
		return
	}
	u, err := url.Parse(c.BackchannelOrigin)
	switch {
	case err != nil || u.Hostname() == "" || c.BackchannelOrigin != u.Scheme+"://"+u.Host || (u.Scheme != "https" && u.Scheme != "http"):
		f.Add("BackchannelOrigin", "is not an origin", "write scheme, host and port alone, such as http://keycloak:8080")
	case u.Scheme == "http" && !IsPrivate(u.Hostname()):
		f.Add("BackchannelOrigin", fmt.Sprintf("is %q, plain http to a host that may be anywhere", c.BackchannelOrigin),
			"write https, or a name or an address of your own network: keycloak, keycloak.auth.svc, 10.0.0.5")
	}
}

// IsPrivate reports whether a host can only be on the network of this machine: loopback, a private or
// link-local address (RFC 1918, RFC 4193, RFC 3927), a name without a dot, or one below a domain that
// is reserved for such networks: internal, local (RFC 6762), localhost (RFC 6761), home.arpa (RFC
// 8375), and svc and cluster.local, which are Kubernetes'.
func IsPrivate(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return !strings.Contains(host, ".") || slices.ContainsFunc([]string{".internal", ".local", ".localhost", ".home.arpa", ".svc"}, func(domain string) bool {
		return strings.HasSuffix(host, domain)
	})
}
