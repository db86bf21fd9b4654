package devop

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	clockOffset = 2 * time.Minute
	outage      = 30 * time.Second
	// slowness is longer than a relying party waits for an answer.
	slowness = 20 * time.Second
)

// The ids of the faults, as their buttons send them.
const (
	faultDeny     = "deny"
	faultBusy     = "busy"
	faultSlow     = "slow"
	faultNonce    = "nonce"
	faultExpired  = "expired"
	faultState    = "state"
	faultObject   = "object"
	faultResponse = "response"
	faultUserinfo = "userinfo"
	faultRefresh  = "refresh"
	faultKeys     = "keys"
	faultClock    = "clock"
	faultDown     = "down"
	// Of mutual TLS.
	faultCertificate = "certificate"
	// Of DPoP.
	faultBearer    = "bearer"
	faultNonces    = "nonces"
	faultNonceLoop = "nonceloop"
)

// fault is something that goes wrong on purpose, to show how an application handles it.
type fault struct {
	id, label string
	// what is the sentence that pages show while the fault is active. It is "" for a fault
	// that takes effect at once.
	what string
	// effect describes how the application handles the fault.
	effect string
	// lasts is how long the fault stays active. Zero means until it has happened once,
	// negative until it is cleared.
	lasts time.Duration
	// act, if not nil, runs when the fault is injected.
	act func(*Provider) error
}

// atSignIn returns the faults that affect the next sign-in.
func atSignIn() []fault {
	return []fault{
		{
			id: faultDeny, label: "Deny", what: "The next sign-in is denied.",
			effect: "The application shows “You were not signed in” and offers another try.",
		},
		{
			id: faultBusy, label: "Too busy", what: "The next sign-in fails with temporarily_unavailable.",
			effect: "The application shows “The sign-in service has a problem”.",
		},
		{
			id: faultSlow, label: "Slow answer", what: "The next token response takes 20 seconds.",
			effect: "The application waits 5 seconds, then shows “The sign-in service cannot be reached”.",
		},
		{
			id: faultNonce, label: "Wrong nonce", what: "The next sign-in gets a wrong nonce.",
			effect: "The application shows “The sign-in could not be verified”. To see why, search its log for the reference on the page.",
		},
		{
			id: faultExpired, label: "Expired token", what: "The next sign-in gets an ID token that expired an hour ago.",
			effect: "The application shows “The sign-in could not be verified”. To see why, search its log for the reference on the page.",
		},
		{
			id: faultState, label: "Unknown state", what: "The next response has a state that belongs to no sign-in.",
			effect: "The application shows “This sign-in was not started here”, and starts no other by itself.",
		},
		{
			id: faultResponse, label: "Response for another", what: "The next signed response is for another client.",
			effect: "With RESPONSE_MODE=jwt, the application shows “The sign-in could not be verified”. Without it, nothing is different.",
		},
		{
			id: faultObject, label: "Request object refused", what: "The next request object is refused.",
			effect: "With REQUEST_OBJECT=on and pushed requests, the application shows “The sign-in service cannot be reached”, and its log has invalid_request_object. Without them, nothing is different.",
		},
		{
			id: faultCertificate, label: "Certificate refused", what: "The certificate of the next token request is refused.",
			effect: "With CLIENT_TLS_CERT_FILE, the application shows “Sign-in isn't configured correctly”, and its log has invalid_client. Without it, nothing is different.",
		},
		{
			id: faultBearer, label: "Bearer token", what: "The next sign-in gets a bearer token, even with DPoP.",
			effect: "With DPOP=on, the application shows “The sign-in could not be verified”. Without it, nothing is different.",
		},
	}
}

// whileSignedIn returns the faults that affect people who are already signed in.
func whileSignedIn() []fault {
	return []fault{
		{
			id: faultUserinfo, label: "Userinfo fails", what: "The next call to userinfo fails.",
			effect: "“Refresh” says “The profile could not be refreshed” and keeps the old profile. A new sign-in still succeeds, with the claims of the ID token.",
		},
		{
			id: faultRefresh, label: "Refresh refused", what: "All access tokens are revoked, and the next token refresh is refused.",
			effect: "“Refresh” ends the session, and the application says “The sign-in service ended this session”.",
			act:    func(p *Provider) error { p.records.withdrawAccess(); return nil },
		},
	}
}

// forEveryone returns the faults that affect everyone immediately.
func forEveryone() []fault {
	return []fault{
		{
			id: faultKeys, label: "Rotate keys",
			effect: "Nothing visible: at the next sign-in, the application fetches the new key. The old key stays published until the next rotation.",
			act:    (*Provider).RotateKey,
		},
		{
			id: faultNonces, label: "New DPoP nonces",
			effect: "Nothing visible: with DPOP=on, the application repeats its next request to each endpoint once, with the new nonce.",
			act:    func(p *Provider) error { p.proofs.renew(); return nil },
		},
		{
			id: faultNonceLoop, label: "Endless DPoP nonces", what: "No DPoP proof has the right nonce.", lasts: -1,
			effect: "With DPOP=on, a sign-in shows “The sign-in could not be verified”, after two tries. People who are signed in stay signed in, and “Refresh” keeps the old profile.",
		},
		{
			id: faultClock, label: "Clock off by two minutes", what: "The provider's clock is two minutes ahead.", lasts: -1,
			effect: "A sign-in shows “The sign-in could not be verified”, and the log compares the clocks.",
		},
		{
			id: faultDown, label: "Down for 30 seconds", what: "The provider does not answer the application for 30 seconds.", lasts: outage,
			effect: "A sign-in shows “The sign-in service cannot be reached”. People who are signed in stay signed in. The provider's own pages keep working.",
		},
	}
}

func allFaults() []fault { return slices.Concat(atSignIn(), whileSignedIn(), forEveryone()) }

// workbench knows the active faults. They do not survive a restart.
type workbench struct {
	now func() time.Time // unaffected by faultClock

	mu sync.Mutex
	on map[string]time.Time // by id, the end; zero if there is none
}

func (b *workbench) begin(t fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var until time.Time
	if t.lasts > 0 {
		until = b.now().Add(t.lasts)
	}
	b.on[t.id] = until
}

func (b *workbench) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.on)
}

// is reports whether a fault is active.
func (b *workbench) is(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	until, ok := b.on[id]
	if ok && !until.IsZero() && !b.now().Before(until) {
		delete(b.on, id)
		return false
	}
	return ok
}

// happens reports whether a fault is active, and clears it.
func (b *workbench) happens(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.on[id]
	delete(b.on, id)
	return ok
}

// active returns the sentences of the active faults.
func (b *workbench) active() (sentences []string) {
	for _, t := range allFaults() {
		if b.is(t.id) {
			sentences = append(sentences, t.what)
		}
	}
	return sentences
}

// injectFault handles the buttons of the workbench.
func (p *Provider) injectFault(w http.ResponseWriter, r *http.Request) {
	values, err := readForm(r)
	if err != nil {
		p.refuseForm(w, r, err)
		return
	}
	i := slices.IndexFunc(allFaults(), func(t fault) bool { return t.id == values.Get("make") })
	switch {
	case values.Has("stop"):
		p.workbench.stop()
	case i < 0:
		p.refuse(w, r, "Unknown fault.")
		return
	default:
		if err := p.begin(allFaults()[i]); err != nil {
			p.refuse(w, r, err.Error())
			return
		}
	}
	redirect(w, p.base+"/", nil)
}

func (p *Provider) begin(t fault) error {
	if t.act != nil {
		if err := t.act(p); err != nil {
			return fmt.Errorf("devop: %s: %w", t.label, err)
		}
	}
	if t.what != "" {
		p.workbench.begin(t)
	}
	p.cfg.Log.Info("development provider: fault injected", "what", t.label)
	return nil
}

// now returns the time by the provider's clock, which a fault can set wrong.
func (p *Provider) now() time.Time {
	if p.workbench.is(faultClock) {
		return p.cfg.Now().Add(clockOffset)
	}
	return p.cfg.Now()
}

// unlessDown wraps the endpoints that applications call. While the provider is down, it
// closes the connection without an answer.
func (p *Provider) unlessDown(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if p.workbench.is(faultDown) {
			panic(http.ErrAbortHandler)
		}
		next(w, r)
	}
}

// delay waits until the client gives up, or for slowness at most.
func (p *Provider) delay(r *http.Request) {
	due := time.NewTimer(slowness)
	defer due.Stop()
	select {
	case <-due.C:
	case <-r.Context().Done():
	}
}

// refusal returns the error to inject into an authorization response, or nil.
func (p *Provider) refusal() error {
	switch {
	case p.workbench.happens(faultDeny):
		return fail("access_denied", "denied by an injected fault")
	case p.workbench.happens(faultBusy):
		return fail("temporarily_unavailable", "too busy because of an injected fault")
	}
	return nil
}

// withdrawAccess revokes every access token.
func (s *records) withdrawAccess() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.Access)
	s.changed()
}
