package apptest

import (
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn/devop"
)

// ClientSecret is the secret of an app that [StartDevProvider] starts. It has the characters
// that are easy to encode wrongly.
const ClientSecret = "a client secret: with spaces, + and %"

// DevProvider is a development provider that a test controls, and an app that knows it as it
// knows any other provider, by OIDC_ISSUER.
type DevProvider struct {
	*devop.Provider
	App    *App
	Server *http.Server
	// Ahead is how far its clock is ahead of the app's, in nanoseconds.
	Ahead atomic.Int64
}

// StartDevProvider starts an app and, unless down is set, its provider.
func StartDevProvider(t *testing.T, down bool, env ...string) *DevProvider {
	t.Helper()
	port, providerPort := FreePort(t), FreePort(t)
	issuer := "http://127.0.0.1:" + providerPort + "/directories/test/"
	env = append([]string{
		"PORT=" + port, "OIDC_ISSUER=" + issuer, "AUTH0_CLIENT_ID=app", "AUTH0_CLIENT_SECRET=" + ClientSecret,
	}, env...)
	p := &DevProvider{}
	if !down {
		p.Start(t, issuer, "http://localhost:"+port)
	}
	p.App = Start(t, env...)
	return p
}

// Start starts the provider of an app that has the origin base.
func (p *DevProvider) Start(t *testing.T, issuer, base string) {
	t.Helper()
	u, err := url.Parse(issuer)
	if err != nil {
		t.Fatal(err)
	}
	p.Provider, err = devop.New(devop.Config{
		Issuer: issuer,
		Now:    func() time.Time { return time.Now().Add(time.Duration(p.Ahead.Load())) },
		Clients: []devop.Client{{
			ID: "app", Secret: ClientSecret, RedirectURIs: []string{base + "/callback"},
			PostLogoutRedirectURIs: []string{base}, BackchannelLogoutURI: base + "/backchannel-logout",
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	p.Server = &http.Server{Handler: p.Provider}
	go func() { _ = p.Server.Serve(listener) }()
	t.Cleanup(func() { _ = p.Server.Close(); _ = p.Provider.Close() })
}
