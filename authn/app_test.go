package authn_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// patience is how long an answer may take on a busy machine while the provider hangs.
const patience = 20 * time.Second

// app is the smallest application that signs people in with this package. It has its own
// port, and a provider that the test controls.
type app struct {
	*httptest.Server
	op       *scriptedop.Provider
	provider *openid.Provider
	rp       *authn.RelyingParty
	sessions *authn.Sessions
	tokens   *authn.TokenSource
	store    authn.Store
	clock    *scriptedop.Clock
	log      *scriptedop.Log
	// demand applies to every sign-in.
	demand openid.Demand
}

// appOptions configure an app. The zero appOptions make one whose provider signs with
// ES256, because making an RSA key takes longer than the rest of a test.
type appOptions struct {
	op scriptedop.Config
	// config changes the configuration.
	config func(*settings)
	// secure serves https, which form_post requires.
	secure bool
	demand openid.Demand
	// beside is an app whose keys, store, clock and provider this one shares.
	beside *app
}

func newApp(t testing.TB, o appOptions) *app {
	t.Helper()
	a := &app{clock: scriptedop.NewClock(time.Date(2026, time.November, 2, 12, 0, 0, 0, time.UTC)), log: new(scriptedop.Log), demand: o.demand}
	if o.op.Keys == nil {
		o.op.Keys = []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}
	}
	if o.beside != nil {
		a.clock, a.op = o.beside.clock, o.beside.op
	} else {
		o.op.Now = a.clock.Now
		a.op = scriptedop.New(t, o.op)
	}
	if a.store = authn.NewMemoryStore(); o.beside != nil {
		a.store = o.beside.store
	}
	a.Server = httptest.NewUnstartedServer(a.routes())
	a.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	cfg := a.configuration(t, "http", o.beside)
	if o.secure {
		cfg = a.configuration(t, "https", o.beside)
	}
	if o.config != nil {
		o.config(&cfg)
	}
	var sessions authn.Config
	a.provider, sessions = cfg.build(t)
	rps, err := authn.NewRelyingParties(sessions)
	if err != nil {
		t.Fatal(err)
	}
	a.rp = rps.First()
	if a.sessions, err = authn.NewSessions(sessions); err != nil {
		t.Fatal(err)
	}
	a.tokens = authn.NewTokenSource(rps, a.sessions)
	go a.tokens.Run(t.Context())
	if o.secure {
		a.StartTLS()
	} else {
		a.Start()
	}
	t.Cleanup(a.Close)
	return a
}

// settings are the configurations of a provider and of its sessions.
type settings struct {
	openid.Config
	Sessions authn.Config
}

// build returns the provider, and the configuration of its sessions, which share the
// provider's clock and log.
func (s settings) build(t testing.TB) (*openid.Provider, authn.Config) {
	t.Helper()
	provider, err := openid.New(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	s.Sessions.Providers, s.Sessions.Now, s.Sessions.Log = []*openid.Provider{provider}, s.Now, s.Log
	return provider, s.Sessions
}

func (a *app) configuration(t testing.TB, scheme string, beside *app) settings {
	t.Helper()
	keys, err := authn.NewKeys("an application secret of 32 bytes or more")
	if err != nil {
		t.Fatal(err)
	}
	origin := scheme + "://" + a.Listener.Addr().String()
	if beside != nil {
		origin = beside.URL // all nodes have one address
	}
	return settings{openid.Config{
		Issuer: a.op.Issuer, ClientID: a.op.ClientID, ClientSecret: openid.Secret(a.op.ClientSecret),
		ClientAuth: openid.ClientSecretBasic, RedirectURL: origin + "/callback", PostLogoutRedirectURL: origin,
		Scopes: []string{"openid", "profile", "email", "offline_access"}, IDTokenAlgorithms: []string{"RS256", "ES256"},
		ResponseMode: "query", PushedAuthorizationRequests: "auto",
		Now: a.clock.Now, Log: slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, authn.Config{Keys: keys, Store: a.store, Idle: time.Hour, Absolute: 24 * time.Hour, SessionsPerPerson: 50}}
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, handler func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := handler(w, r); err != nil {
				w.Header().Set("Reason", string(openid.ReasonOf(err)))
				if e, ok := errors.AsType[*openid.Error](err); ok {
					w.Header().Set("Code", e.Code)
				}
				if e, ok := errors.AsType[*authn.SignInError](err); ok {
					w.Header().Set("Return-To", e.ReturnTo.String())
				}
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		})
	}
	handle("GET /login", a.login)
	handle("GET /callback", a.callback)
	handle("POST /callback", a.callback)
	handle("GET /me", a.me)
	handle("POST /note", a.note)
	handle("POST /refresh", a.refresh)
	handle("GET /token", a.token)
	handle("POST /logout", a.logout)
	handle("POST /backchannel-logout", a.backchannelLogout)
	return mux
}

func (a *app) login(w http.ResponseWriter, r *http.Request) error {
	s, err := a.sessions.Load(r)
	if err != nil {
		return err
	}
	r = r.WithContext(authn.NewContext(r.Context(), s))
	returnTo, _ := authn.ParseReturnPath(r.FormValue("return_to"))
	location, err := a.rp.Begin(w, r, authn.SignInRequest{
		ReturnTo: returnTo, Link: r.URL.Query(), Demand: a.demand, SwitchAccount: r.FormValue("switch") == "1",
	})
	if err == nil {
		http.Redirect(w, r, location, http.StatusSeeOther)
	}
	return err
}

func (a *app) callback(w http.ResponseWriter, r *http.Request) error {
	response := r.URL.Query()
	if r.Method == http.MethodPost {
		if err := r.ParseForm(); err != nil {
			return err
		}
		response = r.PostForm
	}
	in, err := a.rp.Complete(w, r, response)
	if err != nil {
		return err
	}
	if _, err := a.sessions.Start(w, r, in); err != nil {
		return err
	}
	http.Redirect(w, r, in.ReturnTo.String(), http.StatusSeeOther)
	return nil
}

// who is the response of GET /me.
type who struct {
	Issuer, Subject, SID string
	Profile              openid.Profile
	Claims               map[string]json.RawMessage
	Expires, IdleUntil   time.Time
	Note                 any
}

func (a *app) me(w http.ResponseWriter, r *http.Request) error {
	s, err := a.sessions.Load(r)
	if err != nil {
		return err
	}
	if s == nil {
		return errors.New("nobody is signed in")
	}
	answer := who{
		Issuer: s.Identity.Issuer, Subject: s.Identity.Subject, SID: s.Identity.SID, Profile: s.Identity.Profile,
		Claims: make(map[string]json.RawMessage), Expires: s.Expires, IdleUntil: s.IdleUntil,
	}
	for _, claim := range s.Identity.Claims() {
		answer.Claims[claim.Name] = claim.Value
	}
	values, err := a.sessions.Get(r, "session")
	if err != nil {
		return err
	}
	answer.Note = values.Values["note"]
	return json.NewEncoder(w).Encode(answer)
}

// note keeps one of the application's own values.
func (a *app) note(w http.ResponseWriter, r *http.Request) error {
	values, err := a.sessions.Get(r, "session")
	if err != nil {
		return err
	}
	values.Values["note"] = r.FormValue("note")
	return values.Save(r, w)
}

func (a *app) refresh(_ http.ResponseWriter, r *http.Request) error {
	s, err := a.sessions.Load(r)
	if err != nil {
		return err
	}
	_, err = a.tokens.RefreshProfile(r.Context(), s)
	return err
}

// token shows the access token, which no real application should do.
func (a *app) token(w http.ResponseWriter, r *http.Request) error {
	s, err := a.sessions.Load(r)
	if err != nil {
		return err
	}
	token, err := a.tokens.Token(authn.NewContext(r.Context(), s))
	if err == nil {
		_, err = io.WriteString(w, token.AccessToken)
	}
	return err
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) error {
	s, err := a.sessions.Load(r)
	if err != nil {
		return err
	}
	if err := a.sessions.End(r.Context(), s, authn.CauseSignedOut); err != nil {
		return err
	}
	a.rp.RevokeTokens(r.Context(), s)
	if location := a.rp.EndSessionURL(w, s); location != "" {
		http.Redirect(w, r, location, http.StatusSeeOther)
	}
	return nil
}

func (a *app) backchannelLogout(_ http.ResponseWriter, r *http.Request) error {
	token, err := a.provider.VerifyLogoutToken(r.Context(), r.PostFormValue("logout_token"))
	if err == nil {
		_, err = a.sessions.EndAll(r.Context(), token)
	}
	return err
}

// readyApp returns an app whose provider is discovered and whose keys are fetched, so that
// no input of a fuzz target makes it call the provider repeatedly.
func readyApp(f *testing.F) *app {
	f.Helper()
	a := newApp(f, appOptions{})
	if _, err := a.rp.Begin(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), authn.SignInRequest{}); err != nil {
		f.Fatal(err)
	}
	token := a.op.LogoutToken()
	token.Claims["sub"] = "alice"
	if _, err := a.provider.VerifyLogoutToken(f.Context(), token.Compact()); err != nil {
		f.Fatal(err)
	}
	return a
}
