package openid_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// party is a relying party without cookies or sessions, and a provider that the test
// controls.
type party struct {
	*openid.Provider
	t      testing.TB
	config openid.Config
	op     *scriptedop.Provider
	clock  *scriptedop.Clock
	log    *scriptedop.Log
}

// options configure a party. The zero options make one whose provider signs with ES256,
// because making an RSA key takes longer than the rest of a test.
type options struct {
	op     scriptedop.Config
	config func(*openid.Config)
}

func newParty(t testing.TB, o options) *party {
	t.Helper()
	p := &party{t: t, clock: scriptedop.NewClock(time.Date(2026, time.November, 2, 12, 0, 0, 0, time.UTC)), log: new(scriptedop.Log)}
	if o.op.Keys == nil {
		o.op.Keys = []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}
	}
	o.op.Now = p.clock.Now
	p.op = scriptedop.New(t, o.op)
	p.config = openid.Config{
		Issuer: p.op.Issuer, ClientID: p.op.ClientID, ClientSecret: openid.Secret(p.op.ClientSecret),
		ClientAuth: openid.ClientSecretBasic, RedirectURL: "https://app.example/callback",
		PostLogoutRedirectURL: "https://app.example",
		Scopes:                []string{"openid", "profile", "email", "offline_access"}, IDTokenAlgorithms: []string{"RS256", "ES256"},
		ResponseMode: "query", PushedAuthorizationRequests: "auto",
		Now: p.clock.Now, Log: slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if o.config != nil {
		o.config(&p.config)
	}
	var err error
	if p.Provider, err = openid.New(p.config); err != nil {
		t.Fatal(err)
	}
	return p
}

// attempt is a sign-in between its authorization request and its response.
type attempt struct {
	want  openid.Expected
	state string
	// request is where the browser was sent, and response what it brought back.
	request  string
	response url.Values
}

// outcome is the outcome of a sign-in. SignIn is nil if it was refused.
type outcome struct {
	*openid.SignIn
	err error
}

func (o outcome) reason() openid.Reason { return openid.ReasonOf(o.err) }

func (o outcome) code() string {
	e, _ := errors.AsType[*openid.Error](o.err)
	if e == nil {
		return ""
	}
	return e.Code
}

// request makes an authorization request with a new state, nonce and verifier.
func (p *party) request(request openid.AuthorizationRequest) (*attempt, error) {
	request.State, request.Nonce, request.Verifier = openid.RandomToken(), openid.RandomToken(), oauth2.GenerateVerifier()
	location, err := p.AuthorizationURL(p.t.Context(), request)
	if err != nil {
		return nil, err
	}
	return &attempt{
		want:  openid.Expected{Verifier: request.Verifier, Nonce: request.Nonce, Demand: request.Demand},
		state: request.State, request: location,
	}, nil
}

// begin makes an authorization request that must succeed.
func (p *party) begin(request openid.AuthorizationRequest) *attempt {
	p.t.Helper()
	a, err := p.request(request)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

// authorize sends the authorization request through a browser that does not follow
// redirects.
func (p *party) authorize(a *attempt) *attempt {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, a.request, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = resp.Body.Close()
	location, err := resp.Location()
	if err != nil {
		p.t.Fatalf("authorization request: %d, %v", resp.StatusCode, err)
	}
	a.response = location.Query()
	if got := a.response.Get("state"); got != a.state && !p.SignedResponses() {
		p.t.Fatalf("the state is %q, want %q", got, a.state)
	}
	return a
}

// finish redeems the code in the response. It may be called from any goroutine.
func (p *party) finish(ctx context.Context, a *attempt) outcome {
	response, err := p.AuthorizationResponse(ctx, a.response)
	if err != nil {
		return outcome{err: err}
	}
	code, err := p.Code(ctx, response)
	if err != nil {
		return outcome{err: err}
	}
	in, err := p.Redeem(ctx, code, a.want)
	return outcome{in, err}
}

// signIn completes a sign-in.
func (p *party) signIn() outcome {
	p.t.Helper()
	a, err := p.request(openid.AuthorizationRequest{})
	if err != nil {
		return outcome{err: err}
	}
	return p.finish(p.t.Context(), p.authorize(a))
}

// wantSignedIn checks that a sign-in succeeded.
func (p *party) wantSignedIn(got outcome, subject string) {
	p.t.Helper()
	if got.err != nil {
		p.t.Fatalf("refused: %v", got.err)
	}
	if got.Identity.Subject != subject || got.Identity.Issuer != p.op.Issuer {
		p.t.Errorf("%q of %q is signed in, want %q", got.Identity.Subject, got.Identity.Issuer, subject)
	}
	p.wantNoSecrets(nil)
}

// wantRefused checks that a sign-in was refused, and that the error and the log quote no
// secret. calls are the total numbers of requests that the token and userinfo endpoints may
// have received.
func (p *party) wantRefused(got outcome, reason openid.Reason, calls ...int) {
	p.t.Helper()
	if got.err == nil || got.reason() != reason {
		p.t.Fatalf("the error is %v, want one for %q", got.err, reason)
	}
	if got.SignIn != nil {
		p.t.Error("the refusal comes with a sign-in")
	}
	p.wantCalls(calls...)
	p.wantNoSecrets(got.err)
}

// wantNoRequest checks that there is no authorization request, and why. It returns the text
// of the error.
func (p *party) wantNoRequest(reason openid.Reason) string {
	p.t.Helper()
	a, err := p.request(openid.AuthorizationRequest{})
	p.wantRefused(outcome{err: err}, reason, 0, 0)
	if a != nil {
		p.t.Errorf("redirected to %q", a.request)
	}
	if err := p.Ready(); openid.ReasonOf(err) != reason {
		p.t.Errorf("readiness is %v, want %q", err, reason)
	}
	if n := p.op.Calls(scriptedop.JWKS); n > 0 {
		p.t.Errorf("the key set was fetched %d times", n)
	}
	return err.Error()
}

// wantCalls checks how often the token and userinfo endpoints were called.
func (p *party) wantCalls(calls ...int) {
	p.t.Helper()
	got := []int{p.op.Calls(scriptedop.Token), p.op.Calls(scriptedop.UserInfo)}
	if !slices.Equal(got, calls) {
		p.t.Errorf("token and userinfo endpoint were called %v times, want %v", got, calls)
	}
	if n := p.op.Calls(scriptedop.Other); n > 0 {
		p.t.Errorf("the provider received %d requests for paths that it does not have", n)
	}
}

// wantNoSecrets checks that neither an error nor the log quotes a secret from the provider.
func (p *party) wantNoSecrets(err error) {
	p.t.Helper()
	said := p.log.String()
	if err != nil {
		said += "\n" + err.Error()
	}
	for _, secret := range p.op.Secrets() {
		if strings.Contains(said, secret) {
			p.t.Errorf("%q is quoted in the error or the log:\n%s", secret, said)
		}
	}
}

// null marshals as null. A nil value means that a member is missing.
type null struct{}

func (null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

func same(s string) string                { return s }
func always(s string) func(string) string { return func(string) string { return s } }
