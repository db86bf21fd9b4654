package authn_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"latchkey/authn"
)

// panickingStore is a store with a bug in Save.
type panickingStore struct {
	authn.Store
	broken *atomic.Bool
}

func (s panickingStore) Save(ctx context.Context, r authn.Record) error {
	if s.broken.Load() {
		panic("a text that may quote anything")
	}
	return s.Store.Save(ctx, r)
}

// TestAPanicBesideTheRequests (FM-28) has a refresh panic, which runs in a goroutine of its
// own. The process lives, and the next refresh works.
func TestAPanicBesideTheRequests(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	a := newApp(t, appOptions{config: func(c *authn.Config) { c.Store = panickingStore{c.Store, &broken} }})
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	broken.Store(true)
	if got := b.post(a.URL+"/refresh", nil); got.status == http.StatusOK {
		t.Error("a refresh that panics is answered 200")
	}
	if logged := a.log.String(); !strings.Contains(logged, "msg=\"work panicked\"") || !strings.Contains(logged, "work=refresh") || strings.Contains(logged, "may quote") {
		t.Errorf("the log is:\n%s", logged)
	}
	broken.Store(false)
	if got := b.post(a.URL+"/refresh", nil); got.status != http.StatusOK {
		t.Errorf("the next refresh is answered %d %s", got.status, got.text)
	}
}
