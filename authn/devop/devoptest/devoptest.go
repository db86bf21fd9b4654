// Package devoptest lets the development provider sign people in to an application under
// test, over HTTP and without a browser.
package devoptest

import (
	"crypto/rand"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"latchkey/authn/devop"
)

// Provider is a development provider that runs until the test ends.
type Provider struct {
	*devop.Provider
	// Issuer, ClientID and ClientSecret configure the application.
	Issuer, ClientID, ClientSecret string
}

// New starts a provider that signs people in to the application at the address app, such as
// "http://localhost:3000". If no people are given, it has the sample people.
func New(t testing.TB, app string, people ...devop.Person) *Provider {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	p := &Provider{Issuer: "http://" + server.Listener.Addr().String(), ClientID: "app-under-test", ClientSecret: rand.Text()}
	var err error
	p.Provider, err = devop.New(devop.Config{
		Issuer: p.Issuer, People: people,
		Clients: []devop.Client{{
			ID: p.ClientID, Secret: p.ClientSecret,
			RedirectURIs:           []string{app + "/callback"},
			PostLogoutRedirectURIs: []string{app},
			BackchannelLogoutURI:   app + "/backchannel-logout",
			InitiateLoginURI:       app + "/login",
		}},
	})
	if err != nil {
		server.Close()
		t.Fatal(err)
	}
	server.Config.Handler = p.Provider
	server.Start()
	t.Cleanup(func() {
		server.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// Env returns the application's configuration for this provider, as environment variables.
func (p *Provider) Env() []string {
	return []string{"OIDC_ISSUER=" + p.Issuer, "AUTH0_CLIENT_ID=" + p.ClientID, "AUTH0_CLIENT_SECRET=" + p.ClientSecret}
}

// SignIn opens a page of the application that requires a sign-in and signs in as the person
// with the given subject. It returns the signed-in client, and the response and body of the
// page where the sign-in ends. It fails the test if the sign-in does not get past the
// provider.
func (p *Provider) SignIn(t testing.TB, page, subject string) (client *http.Client, landed *http.Response, body string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client = &http.Client{Jar: jar}
	asked, body := send(t, client, http.MethodGet, page, nil)
	request := regexp.MustCompile(`name="request" value="([^"]+)"`).FindStringSubmatch(body)
	if !strings.HasPrefix(asked.Request.URL.String(), p.Issuer+"/") || request == nil {
		t.Fatalf("%s leads to %s (%s) instead of the provider's sign-in page", page, asked.Request.URL, asked.Status)
	}
	landed, body = send(t, client, http.MethodPost, p.Issuer+"/sign-in", url.Values{
		"request": {html.UnescapeString(request[1])}, "sub": {subject},
	})
	if strings.HasPrefix(landed.Request.URL.String(), p.Issuer+"/") {
		t.Fatalf("the provider did not sign in %q: %s", subject, landed.Status)
	}
	return client, landed, body
}

// send sends a request, follows redirects, and returns the last response with its body.
func send(t testing.TB, client *http.Client, method, address string, form url.Values) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}
