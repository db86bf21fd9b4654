package openid_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// TestDiscoveryFails distinguishes temporary failures from permanent ones.
func TestDiscoveryFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   openid.Reason
		slow   bool
	}{
		"CF-08 404":                  {answer: http.NotFound, want: openid.ReasonProviderMisconfigured},
		"CF-08 403":                  {answer: scriptedop.Body(403, "text/plain", "MARK"), want: openid.ReasonProviderMisconfigured},
		"CF-08 a page":               {answer: scriptedop.Body(200, "text/html", "<p>MARK"), want: openid.ReasonProviderMisconfigured},
		"CF-08 as text":              {answer: scriptedop.Body(200, "text/plain", "{}"), want: openid.ReasonProviderMisconfigured},
		"CF-08 not JSON":             {answer: scriptedop.Body(200, "application/json", "MARK"), want: openid.ReasonProviderMisconfigured},
		"CF-08 nothing":              {answer: scriptedop.Body(200, "application/json", ""), want: openid.ReasonProviderMisconfigured},
		"CF-08 a list":               {answer: scriptedop.Body(200, "application/json", "[]"), want: openid.ReasonProviderMisconfigured},
		"CF-08 DO-07 no end":         {answer: scriptedop.Endless, want: openid.ReasonProviderMisconfigured},
		"CF-08 DO-07 a bomb":         {answer: scriptedop.GzipBomb(64), want: openid.ReasonProviderMisconfigured},
		"CF-08 a redirect":           {answer: scriptedop.Redirect(302, "http://127.0.0.1:1/"), want: openid.ReasonProviderMisconfigured},
		"CF-07 503":                  {answer: scriptedop.Body(503, "text/plain", "MARK"), want: openid.ReasonProviderUnreachable},
		"CF-07 500":                  {answer: scriptedop.Status(500), want: openid.ReasonProviderUnreachable},
		"CF-07 429":                  {answer: scriptedop.Status(429), want: openid.ReasonProviderUnreachable},
		"CF-07 a broken line":        {answer: scriptedop.Reset, want: openid.ReasonProviderUnreachable},
		"CF-07 half an answer":       {answer: scriptedop.Cut, want: openid.ReasonProviderUnreachable},
		"CF-07 no answer":            {answer: scriptedop.Hang, want: openid.ReasonProviderUnreachable, slow: true},
		"CF-07 an answer that stops": {answer: scriptedop.Stall, want: openid.ReasonProviderUnreachable, slow: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.slow && testing.Short() {
				t.Skip("waits for a time limit")
			}
			p := newParty(t, options{})
			p.op.Answer(scriptedop.Discovery, tt.answer)
			got := p.wantNoRequest(tt.want)
			logged := p.log.String()
			if strings.Contains(got+logged, "MARK") {
				t.Errorf("the provider's text is quoted: %s\n%s", got, logged)
			}
			if loud := strings.Contains(logged, "level=ERROR"); loud != (tt.want == openid.ReasonProviderMisconfigured) {
				t.Errorf("logged as an error: %t\n%s", loud, logged)
			}
			// It recovers by itself, once it may try again.
			p.op.Answer(scriptedop.Discovery, nil)
			before := p.op.Calls(scriptedop.Discovery)
			p.wantNoRequest(tt.want)
			if n := p.op.Calls(scriptedop.Discovery); n != before {
				t.Error("called again immediately")
			}
			p.clock.Move(2 * time.Second)
			p.wantSignedIn(p.signIn(), "alice")
		})
	}
}

// TestDiscoveryRedirects follows a redirect to the document as long as it stays on the issuer's
// origin.
func TestDiscoveryRedirects(t *testing.T) {
	t.Parallel()
	var followed atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(func() {
		elsewhere.Close()
		if n := followed.Load(); n > 0 {
			t.Errorf("%d redirects were followed elsewhere", n)
		}
	})
	for name, tt := range map[string]struct {
		// locations are where the document is moved to, one after the other.
		locations func(issuer *url.URL) []string
		accepted  bool
	}{
		"CB-16 to a query":         {func(*url.URL) []string { return []string{"?moved"} }, true},
		"CB-16 to an absolute URL": {func(u *url.URL) []string { return []string{u.String() + "/.well-known/openid-configuration?moved"} }, true},
		"CB-16 three times":        {func(*url.URL) []string { return []string{"?1", "?2", "?3"} }, true},
		"CB-16 four times":         {func(*url.URL) []string { return []string{"?1", "?2", "?3", "?4"} }, false},
		"CB-16 to another path":    {func(*url.URL) []string { return []string{"/nothing/here"} }, false},
		"CB-16 to another port":    {func(*url.URL) []string { return []string{elsewhere.URL} }, false},
		"CB-16 there in the end":   {func(*url.URL) []string { return []string{"?1", elsewhere.URL} }, false},
		"CB-16 to another scheme":  {func(u *url.URL) []string { return []string{"https://" + u.Host + "/"} }, false},
		"CB-16 to another name":    {func(u *url.URL) []string { return []string{"http://localhost:" + u.Port() + u.Path} }, false},
		"CB-16 with credentials": {func(u *url.URL) []string {
			return []string{"http://a:b@" + u.Host + u.Path + "/.well-known/openid-configuration?moved"}
		}, false},
		"CB-16 to what is not a URL":    {func(*url.URL) []string { return []string{"javascript:alert(1)"} }, false},
		"CB-16 to where a host follows": {func(*url.URL) []string { return []string{"//" + strings.TrimPrefix(elsewhere.URL, "http://")} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{})
			issuer, err := url.Parse(p.op.Issuer)
			if err != nil {
				t.Fatal(err)
			}
			var answers []http.HandlerFunc
			for _, location := range tt.locations(issuer) {
				answers = append(answers, scriptedop.Redirect(http.StatusFound, location))
			}
			p.op.Answer(scriptedop.Discovery, scriptedop.InTurn(append(answers, p.op.Correct(scriptedop.Discovery))...))
			if tt.accepted {
				p.wantSignedIn(p.signIn(), "alice")
				return
			}
			_, err = p.request(openid.AuthorizationRequest{})
			if openid.ReasonOf(err) != openid.ReasonProviderMisconfigured {
				t.Errorf("the error is %v", err)
			}
		})
	}
	t.Run("CF-04 the document there must name the issuer", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{})
		p.op.Edit(scriptedop.Discovery, func(m map[string]any) { m["issuer"] = "https://evil.example" })
		p.op.Answer(scriptedop.Discovery, scriptedop.InTurn(scriptedop.Redirect(301, "?moved"), p.op.Correct(scriptedop.Discovery)))
		p.wantNoRequest(openid.ReasonProviderMisconfigured)
	})
}

func TestDiscoveryInTheBackground(t *testing.T) {
	t.Parallel()
	t.Run("CF-07 FM-01 the provider comes late", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{})
		failed, keys := make(chan struct{}), make(chan struct{})
		p.op.Answer(scriptedop.Discovery, scriptedop.InTurn(func(w http.ResponseWriter, r *http.Request) {
			scriptedop.Status(http.StatusServiceUnavailable)(w, r)
			close(failed)
		}, p.op.Correct(scriptedop.Discovery)))
		var once sync.Once
		p.op.Answer(scriptedop.JWKS, func(w http.ResponseWriter, r *http.Request) {
			p.op.Correct(scriptedop.JWKS)(w, r)
			once.Do(func() { close(keys) })
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			p.Run(ctx)
			close(ended)
		}()
		scriptedop.Await(t, failed)
		scriptedop.Await(t, keys) // the metadata and the keys are fetched before any sign-in
		if err := p.Ready(); err != nil {
			t.Errorf("readiness is %v", err)
		}
		p.wantSignedIn(p.signIn(), "alice")
		if n := p.op.Calls(scriptedop.Discovery); n != 2 {
			t.Errorf("the provider was discovered %d times", n)
		}
		if n := p.op.Calls(scriptedop.JWKS); n != 1 {
			t.Errorf("the key set was fetched %d times", n)
		}
		stop()
		scriptedop.Await(t, ended)
	})
	t.Run("FM-01 nobody has asked yet", func(t *testing.T) {
		t.Parallel()
		if err := newParty(t, options{}).Ready(); openid.ReasonOf(err) != openid.ReasonProviderUnreachable {
			t.Errorf("readiness is %v", err)
		}
	})
	t.Run("FM-01 many ask at once", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{})
		asked, release := make(chan struct{}), make(chan struct{})
		p.op.Answer(scriptedop.Discovery, func(w http.ResponseWriter, r *http.Request) {
			close(asked)
			scriptedop.After(release, p.op.Correct(scriptedop.Discovery))(w, r)
		})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := p.AuthorizationURL(t.Context(), openid.AuthorizationRequest{}); err != nil {
					t.Errorf("refused: %v", err)
				}
			})
		}
		scriptedop.Await(t, asked)
		close(release)
		wg.Wait()
		if n := p.op.Calls(scriptedop.Discovery); n != 1 {
			t.Errorf("the provider was discovered %d times", n)
		}
	})
	t.Run("FM-03 what is known is used while the provider is away", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{})
		p.wantSignedIn(p.signIn(), "alice")
		p.op.Answer(scriptedop.Discovery, scriptedop.Reset)
		p.clock.Move(10 * time.Minute)
		p.wantSignedIn(p.signIn(), "alice")
		if err := p.Ready(); err != nil {
			t.Errorf("readiness is %v", err)
		}
	})
}

func TestProviderWithUntrustedCertificate(t *testing.T) {
	t.Parallel()
	t.Run("FM-08 a certificate of its own", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{op: scriptedop.Config{TLS: true}})
		p.wantNoRequest(openid.ReasonProviderUnreachable)
		if n := p.op.Calls(scriptedop.Discovery); n > 0 {
			t.Errorf("the provider was called %d times", n)
		}
	})
}

func TestIssuerThatCannotBe(t *testing.T) {
	t.Parallel()
	for issuer, accepted := range map[string]bool{
		"https://op.example": true, "https://op.example/tenant/": true, "http://127.0.0.1:9000": true, "http://localhost/": true, "http://[::1]:9000": true,
		"http://op.example": false, "op.example": false, "": false, "ftp://op.example": false, "https://": false,
		"http://127.0.0.1.evil.example": false, "http://localhost.evil.example": false, "http://10.0.0.1": false,
	} {
		t.Run("CF-03 "+issuer, func(t *testing.T) {
			t.Parallel()
			cfg := newParty(t, options{}).config
			cfg.Issuer = issuer
			if _, err := openid.New(cfg); (err == nil) != accepted {
				t.Errorf("accepted: %t, want %t: %v", err == nil, accepted, err)
			}
		})
	}
}
