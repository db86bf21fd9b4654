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
	// slowness is more than a relying party waits for an answer.
	slowness = 20 * time.Second
)

// The kinds of trouble, as their buttons name them.
const (
	troubleDeny     = "deny"
	troubleBusy     = "busy"
	troubleSlow     = "slow"
	troubleNonce    = "nonce"
	troubleExpired  = "expired"
	troubleUserinfo = "userinfo"
	troubleRefresh  = "refresh"
	troubleKeys     = "keys"
	troubleClock    = "clock"
	troubleDown     = "down"
)

// trouble is something that goes wrong on purpose, to see what an application makes
// of it.
type trouble struct {
	id, label string
	// what is the sentence that the pages show until it is over; "" where it is over at once.
	what string
	// effect says what the application beside this provider does about it.
	effect string
	// lasts is how long it goes on; 0 is until it has happened once, negative until somebody
	// stops it.
	lasts time.Duration
	// act is what is done at once.
	act func(*Provider) error
}

// atSignIn are those that the next sign-in meets.
func atSignIn() []trouble {
	return []trouble{
		{
			id: troubleDeny, label: "Deny", what: "The next sign-in is denied.",
			effect: "The application shows “You were not signed in”, and offers to try again.",
		},
		{
			id: troubleBusy, label: "Too busy", what: "The next sign-in is answered with temporarily_unavailable.",
			effect: "The application shows “The sign-in service has a problem”.",
		},
		{
			id: troubleSlow, label: "Slow answer", what: "The next code is not exchanged for 20 seconds.",
			effect: "The application waits for 5 seconds and shows “The sign-in service cannot be reached”.",
		},
		{
			id: troubleNonce, label: "Wrong nonce", what: "The next sign-in gets a wrong nonce.",
			effect: "The application shows “The sign-in could not be verified”; its log says why, under the reference on the page.",
		},
		{
			id: troubleExpired, label: "Expired token", what: "The next sign-in gets an ID token that expired an hour ago.",
			effect: "The application shows “The sign-in could not be verified”; its log says why, under the reference on the page.",
		},
	}
}

// whileSignedIn are those that somebody meets who is signed in already.
func whileSignedIn() []trouble {
	return []trouble{
		{
			id: troubleUserinfo, label: "Userinfo fails", what: "The next call of userinfo fails.",
			effect: "“Refresh profile” says “The profile could not be refreshed” and keeps what was known. A sign-in goes on with the claims of the ID token.",
		},
		{
			id: troubleRefresh, label: "Refresh refused", what: "Access tokens are withdrawn, and the next refresh is refused.",
			effect: "“Refresh profile” ends the session, and the application says “The sign-in service no longer vouches for this session”.",
			act:    func(p *Provider) error { p.records.withdrawAccess(); return nil },
		},
	}
}

// forEverybody are those that begin now.
func forEverybody() []trouble {
	return []trouble{
		{
			id: troubleKeys, label: "Rotate keys",
			effect: "Nobody notices: the next sign-in has the application fetch the new key. The old one stays published until the next rotation.",
			act:    (*Provider).RotateKey,
		},
		{
			id: troubleClock, label: "Clock off by two minutes", what: "The provider's clock is two minutes ahead.", lasts: -1,
			effect: "A sign-in shows “The sign-in could not be verified”; the log compares the clocks.",
		},
		{
			id: troubleDown, label: "Down for 30 seconds", what: "The provider answers no call of the application for 30 seconds.", lasts: outage,
			effect: "A sign-in shows “The sign-in service cannot be reached”. Who is signed in stays so. These pages go on, so that a sign-in gets that far.",
		},
	}
}

func everyTrouble() []trouble { return slices.Concat(atSignIn(), whileSignedIn(), forEverybody()) }

// workbench knows the trouble that is being made. A restart ends it.
type workbench struct {
	now func() time.Time // never off

	mu sync.Mutex
	on map[string]time.Time // by id, until when; zero where that is not known
}

func (b *workbench) begin(t trouble) {
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

// is reports whether a trouble is being made.
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

// happens reports whether a trouble is being made, which was its one time.
func (b *workbench) happens(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.on[id]
	delete(b.on, id)
	return ok
}

// being is the trouble that is being made, as sentences.
func (b *workbench) being() (sentences []string) {
	for _, t := range everyTrouble() {
		if b.is(t.id) {
			sentences = append(sentences, t.what)
		}
	}
	return sentences
}

// makeTrouble takes a button of the workbench.
func (p *Provider) makeTrouble(w http.ResponseWriter, r *http.Request) {
	values, err := readForm(r)
	if err != nil {
		p.refuseForm(w, r, err)
		return
	}
	i := slices.IndexFunc(everyTrouble(), func(t trouble) bool { return t.id == values.Get("make") })
	switch {
	case values.Has("stop"):
		p.trouble.stop()
	case i < 0:
		p.refuse(w, r, "There is no such trouble to make.")
		return
	default:
		if err := p.begin(everyTrouble()[i]); err != nil {
			p.refuse(w, r, err.Error())
			return
		}
	}
	redirect(w, p.base+"/", nil)
}

func (p *Provider) begin(t trouble) error {
	if t.act != nil {
		if err := t.act(p); err != nil {
			return fmt.Errorf("devop: %s: %w", t.label, err)
		}
	}
	if t.what != "" {
		p.trouble.begin(t)
	}
	p.cfg.Log.Info("development provider: trouble", "what", t.label)
	return nil
}

// now is the provider's clock, which may be made wrong.
func (p *Provider) now() time.Time {
	if p.trouble.is(troubleClock) {
		return p.cfg.Now().Add(clockOffset)
	}
	return p.cfg.Now()
}

// unlessDown is in front of what applications call. While the provider is down, the
// connection ends without an answer.
func (p *Provider) unlessDown(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if p.trouble.is(troubleDown) {
			panic(http.ErrAbortHandler)
		}
		next(w, r)
	}
}

// dawdle keeps whoever asks waiting, until they go.
func (p *Provider) dawdle(r *http.Request) {
	due := time.NewTimer(slowness)
	defer due.Stop()
	select {
	case <-due.C:
	case <-r.Context().Done():
	}
}

// refusal is the error that an authorization request is answered with on purpose, or nil.
func (p *Provider) refusal() error {
	switch {
	case p.trouble.happens(troubleDeny):
		return fail("access_denied", "refused on purpose")
	case p.trouble.happens(troubleBusy):
		return fail("temporarily_unavailable", "too busy on purpose")
	}
	return nil
}

// withdrawAccess makes every access token worthless.
func (s *records) withdrawAccess() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.Access)
	s.changed()
}
