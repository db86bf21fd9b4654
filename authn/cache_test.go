package authn_test

import (
	"context"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// measuredSite is a site that reports the size of its cache.
type measuredSite struct {
	*site
	set *metrics.Set
}

func newMeasuredSite(t *testing.T, store authn.Store, bytes int) measuredSite {
	t.Helper()
	set := metrics.NewSet()
	return measuredSite{newSiteOn(t, store).with(t, func(c *settings) { c.Sessions.CacheBytes, c.Sessions.Metrics = bytes, set }), set}
}

// cacheSize returns the size of the cache in bytes.
func (s measuredSite) cacheSize() int {
	return int(s.set.GetOrCreateGauge("latchkey_session_cache_bytes", nil).Get())
}

// signInMany signs in n people, each with this many bytes of claims, and returns the values of their cookies.
func (s measuredSite) signInMany(t *testing.T, n, claims int) (cookies []string) {
	t.Helper()
	for i := range n {
		in := signInOf("person" + strconv.Itoa(i))
		in.Identity.IDToken = openid.Claims(`{"sub":"` + in.Identity.Subject + `","about":"` + strings.Repeat("x", claims) + `"}`)
		_, cookie := newVisitor(t).signIn(t, s.site, in)
		cookies = append(cookies, cookie)
	}
	return cookies
}

// visit loads the session of each person, and then renders page as a fragment of each.
func (s measuredSite) visit(t *testing.T, cookies []string, page string) (visitors []*authn.Session) {
	t.Helper()
	for i, cookie := range cookies {
		visitors = append(visitors, s.wantPerson(t, cookie, "person"+strconv.Itoa(i)))
	}
	for _, session := range visitors {
		err := session.Fragment(io.Discard, "page", len(page), func(w io.Writer) error {
			_, err := io.WriteString(w, page)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return visitors
}

// TestCacheIsBounded has more people visit than the cache holds.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	const people, claims, limit = 200, 5 << 10, 1 << 20
	s := newMeasuredSite(t, authn.NewMemoryStore(), limit)
	cookies, page := s.signInMany(t, people, claims), strings.Repeat("y", 10<<10)
	s.visit(t, cookies, page)
	if got := s.cacheSize(); got > people*1024 { // enough for the keys
		t.Errorf("after one visit of each person, the cache holds %d bytes", got)
	}
	for range 3 {
		s.visit(t, cookies, page)
		if got := s.cacheSize(); got < limit/2 || got > limit+limit/10 { // the older generation may still grow
			t.Errorf("after further visits, the cache holds %d bytes, want %d to %d", got, limit/2, limit)
		}
	}
	all := s.visit(t, cookies, page)
	for range 2 { // others may have taken the room of the first person
		s.visit(t, cookies[:1], page)
	}
	before := s.cacheSize()
	s.visit(t, cookies[:1], strings.Repeat("y", limit/4))
	if got := s.cacheSize(); got != before {
		t.Errorf("a page that would take the room of many people adds %d bytes", got-before)
	}
	for i, session := range all {
		if err := s.End(t.Context(), session, authn.CauseSignedOut); err != nil {
			t.Fatal(err)
		}
		if freed := before - s.cacheSize(); i == 0 && freed < claims+len(page) {
			t.Errorf("ending a session frees %d bytes, want at least %d", freed, claims+len(page))
		}
	}
	if got := s.cacheSize(); got != 0 {
		t.Errorf("after the end of all sessions, the cache holds %d bytes", got)
	}
}

// TestCacheForgets sweeps twice without a visit, which empties the cache.
func TestCacheForgets(t *testing.T) {
	t.Parallel()
	swept := sweptStore{authn.NewMemoryStore(), make(chan struct{})}
	s := newMeasuredSite(t, swept, 0)
	cookies := s.signInMany(t, 10, 1000)
	for range 2 {
		s.visit(t, cookies, "page")
	}
	if got := s.cacheSize(); got < 10*1000 {
		t.Fatalf("control: the cache holds %d bytes", got)
	}
	go s.Sweep(t.Context(), time.Millisecond)
	for range 2 {
		<-swept.swept
	}
	if got := s.cacheSize(); got != 0 {
		t.Errorf("the cache holds %d bytes", got)
	}
}

// sweptStore is a store that reports each sweep on a channel.
type sweptStore struct {
	authn.Store
	swept chan struct{}
}

func (s sweptStore) Sweep(ctx context.Context, now time.Time) (int, error) {
	select {
	case s.swept <- struct{}{}:
	case <-ctx.Done():
	}
	return s.Store.Sweep(ctx, now)
}

// TestCacheNeedsTheSecret loads a cached session with its id and another secret.
func TestCacheNeedsTheSecret(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := signedIn(t, s, "alice")
	for range 3 {
		s.wantPerson(t, cookie, "alice")
	}
	id, _, _ := strings.Cut(cookie, ".")
	s.wantPerson(t, id+"."+strings.Repeat("A", 43), "")
	s.wantPerson(t, cookie, "alice")
}

// TestCacheTellsRecordsApart has a store lose a write, and give its version to another one.
func TestCacheTellsRecordsApart(t *testing.T) {
	t.Parallel()
	store := &replacedStore{authn.NewMemoryStore()}
	s, alice := newSiteOn(t, store), newVisitor(t)
	_, cookie := alice.signIn(t, s, signInOf("alice"))
	record, err := store.Load(t.Context(), keyOf(cookie))
	if err != nil {
		t.Fatal(err)
	}
	saveValue(t, s, alice, "colour", "red")
	for range 3 {
		wantValues(t, s, alice, map[any]any{"colour": "red"})
	}
	store.Store = authn.NewMemoryStore()
	if err := store.Create(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	other := s.with(t, func(*settings) {}) // without what the first one has cached
	saveValue(t, other, alice, "colour", "blue")
	wantValues(t, s, alice, map[any]any{"colour": "blue"})
}

// replacedStore is a store that can be replaced by another one.
type replacedStore struct{ authn.Store }

// TestCachedClaimsAreCopied changes the list of claims of one request.
func TestCachedClaimsAreCopied(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := signedIn(t, s, "alice")
	for range 3 {
		claims := s.wantPerson(t, cookie, "alice").Claims()
		if claims[0].Name != "sub" {
			t.Fatalf("the first claim is %q", claims[0].Name)
		}
		claims[0].Name = "changed"
	}
}
