package apptest

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/app"
	"latchkey/internal/scriptedop"
)

// Clock stands still until a test moves it.
type Clock = scriptedop.Clock

// Settings are the settings of packages openid and authn, which [AssembleWith] can change.
type Settings = app.Settings

// Assemble serves the app beside a scripted provider, with one clock for both. Sessions are
// in memory, and nothing runs in the background.
func Assemble(t *testing.T, env ...string) (*Scripted, *Clock) {
	t.Helper()
	return AssembleWith(t, func(*app.Settings) {}, env...)
}

// AssembleWith does the same with settings that no configuration can have beside a scripted
// provider, such as those of an Auth0 tenant.
func AssembleWith(t *testing.T, change func(*Settings), env ...string) (*Scripted, *Clock) {
	t.Helper()
	return assemble(t, (*httptest.Server).Start, "http", change, env...)
}

// AssembleHTTPS does the same as [Assemble] over HTTPS, with a certificate that nobody but the app's own
// visitors and browsers trusts.
func AssembleHTTPS(t *testing.T, env ...string) (*Scripted, *Clock) {
	t.Helper()
	return AssembleHTTPSWith(t, func(*app.Settings) {}, env...)
}

// AssembleHTTPSWith does so with other settings.
func AssembleHTTPSWith(t *testing.T, change func(*Settings), env ...string) (*Scripted, *Clock) {
	t.Helper()
	return assemble(t, (*httptest.Server).StartTLS, "https", change, env...)
}

// AssembleNamedHTTPS does the same with a name for the provider, as where there are several.
func AssembleNamedHTTPS(t *testing.T, name string, env ...string) (*Scripted, *Clock) {
	t.Helper()
	c := scriptedop.NewClock(assembledAt)
	op := scriptedop.New(t, scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}, Now: c.Now})
	named := append([]string{"OIDC_ISSUER=", "AUTH0_CLIENT_ID=", "AUTH0_CLIENT_SECRET="}, EnvOf(map[string]*scriptedop.Provider{name: op})...)
	return assembleBeside(t, op, c, (*httptest.Server).StartTLS, "https", func(*app.Settings) {}, append(named, env...)...), c
}

// AssembleNodesHTTPS does so twice, beside one provider: two nodes that share their sessions and their
// secret. Each has a clock of its own.
func AssembleNodesHTTPS(t *testing.T, env ...string) (nodes [2]*Scripted, clocks [2]*Clock) {
	t.Helper()
	store := authn.NewMemoryStore()
	share := func(settings *app.Settings) { settings.Authn.Store = store }
	env = append(env, "APP_SECRET_KEY=0123456789abcdef0123456789abcdef")
	nodes[0], clocks[0] = assemble(t, (*httptest.Server).StartTLS, "https", share, env...)
	clocks[1] = scriptedop.NewClock(assembledAt)
	nodes[1] = assembleBeside(t, nodes[0].OP, clocks[1], (*httptest.Server).StartTLS, "https", share, env...)
	return nodes, clocks
}

// assembledAt is what the clocks show at first.
var assembledAt = time.Date(2026, time.November, 2, 12, 0, 0, 0, time.UTC)

func assemble(t *testing.T, start func(*httptest.Server), scheme string, change func(*app.Settings), env ...string) (*Scripted, *Clock) {
	t.Helper()
	c := scriptedop.NewClock(assembledAt)
	op := scriptedop.New(t, scriptedop.Config{
		Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}, Now: c.Now, DPoP: slices.Contains(env, "DPOP=on"),
	})
	return assembleBeside(t, op, c, start, scheme, change, env...), c
}

func assembleBeside(t *testing.T, op *scriptedop.Provider, c *Clock, start func(*httptest.Server), scheme string, change func(*app.Settings), env ...string) *Scripted {
	t.Helper()
	a := &App{T: t, Log: NewLog(), DataDir: t.TempDir(), Issuer: op.Issuer}
	server := httptest.NewUnstartedServer(nil)
	_, port, _ := strings.Cut(server.Listener.Addr().String(), ":")
	cfg, err := app.LoadConfig(append(append(Env(op), "PORT="+port, "AUTH0_CALLBACK_URL="+scheme+"://localhost:"+port+"/callback", "LOG_FORMAT=json", "DATA_DIR="+a.DataDir, "SESSION_STORE=memory"), env...))
	if err != nil {
		t.Fatal(err)
	}
	assembled, err := app.New(t.Context(), cfg, a.Log, func(settings *app.Settings) {
		settings.OpenID.Now = c.Now
		change(settings)
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = assembled.Handler
	start(server)
	t.Cleanup(server.Close)
	if a.certificate = server.Certificate(); a.certificate != nil {
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.InsecureSkipVerify = true // it names another host
		a.makeTransport.Do(func() { a.transport = transport })
	}
	a.URL = cfg.BaseURL(cfg.Port).String()
	return &Scripted{App: a, OP: op, Assembled: assembled, Server: server}
}

// TwoDevices is a person who is signed in on two devices.
type TwoDevices struct {
	*Scripted
	Clock       *Clock
	Here, There *Visitor
}

// NewTwoDevices signs a person in on two devices.
func NewTwoDevices(t *testing.T, env ...string) *TwoDevices {
	t.Helper()
	s, c := Assemble(t, env...)
	p := &TwoDevices{Scripted: s, Clock: c, Here: s.Visitor(), There: s.Visitor()}
	p.SignIn(p.Here)
	p.SignIn(p.There)
	return p
}

// StepUpForm returns the form that [TwoDevices.EndOthers] sends. Where a step-up interrupts
// it, the form must arrive unchanged.
func StepUpForm() url.Values {
	return url.Values{"note": {`<b>"mine"</b> & yours`}, "to": {"a", "b", "a"}, "empty": {""}}
}

// EndOthers presses "Sign out the others" on one device, and returns the answer.
func (p *TwoDevices) EndOthers(headers ...string) Answer {
	p.T.Helper()
	headers = append(headers, "Sec-Fetch-Site", "same-origin")
	return p.Here.Direct(p.Here.Request(http.MethodPost, "/sessions/end-others", StepUpForm(), headers...))
}
