package authn

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// keysLifetime is how long a fetched key set is trusted: a key that the provider
	// withdrew, because it leaked, is refused after that.
	keysLifetime = 15 * time.Minute
	// keysGrace is how long the last good set serves on while fetching fails.
	keysGrace = time.Hour
	// An unknown key is reason to fetch the set anew (OpenID Connect Core 1.0
	// section 10.1.1), at once but not endlessly: anybody can send us tokens that
	// name unknown keys. A few fetches may follow each other; after that, one in
	// refetchInterval.
	refetchInterval = 30 * time.Second
	refetchBurst    = 2 // for ID tokens, which come from the provider
	logoutBurst     = 1 // for logout tokens, which anybody can send
	accessBurst     = 1 // for access tokens, likewise
)

var errNoKey = errors.New("authn: no key of the provider's verifies the signature")

// keySet is the provider's key set (RFC 7517) as go-oidc's KeySet. Unlike go-oidc's
// own it bounds how often it fetches, keeps the last good set, forgets withdrawn
// keys, and skips keys that it does not understand one by one.
type keySet struct {
	provider *provider
	client   *http.Client
	now      func() time.Time
	log      *slog.Logger

	fetching single

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time
	lastErr error
}

// keySetVerifier is the key set as one kind of token sees it. Each kind has an allowance of
// its own: a stranger can send logout tokens without end, and must not use up what a
// sign-in needs when the provider has changed its keys.
type keySetVerifier struct {
	set       *keySet
	allowance bucket
}

// VerifySignature implements oidc.KeySet. The caller has pinned the algorithm.
func (v *keySetVerifier) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(jwt, signatureAlgorithms)
	if err != nil {
		return nil, errors.New("authn: not a signed JWT of a known algorithm")
	}
	if payload, _, ok := verifyWith(v.set.trusted(), jws); ok {
		return payload, nil
	}
	keys, fresh, err := v.set.fetchAnew(ctx, &v.allowance)
	if err != nil {
		return nil, err
	}
	payload, known, ok := verifyWith(keys, jws)
	switch {
	case ok:
		return payload, nil
	case fresh || known:
		return nil, errNoKey
	default:
		// The provider may have a key for it that we could not ask for: nobody can
		// tell whether the token is good.
		return nil, refuse(ReasonProviderUnreachable, "the token's key is not known, and the key set cannot be fetched now")
	}
}

// verifyWith tries the keys that fit the token, and reports whether there are any.
// Without a kid there must be exactly one: trying several would let a weak one stand in
// for another.
func verifyWith(keys []jose.JSONWebKey, jws *jose.JSONWebSignature) (payload []byte, known, ok bool) {
	header := jws.Signatures[0].Header
	var candidates []jose.JSONWebKey
	for _, key := range keys {
		if (header.KeyID == "" || key.KeyID == header.KeyID) && fits(key, header.Algorithm) {
			candidates = append(candidates, key)
		}
	}
	known = len(candidates) > 0
	if header.KeyID == "" && len(candidates) != 1 {
		return nil, known, false
	}
	for _, key := range candidates {
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, known, true
		}
	}
	return nil, known, false
}

// trusted returns the keys that may be used without asking the provider.
func (k *keySet) trusted() []jose.JSONWebKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now().Sub(k.fetched) >= keysLifetime {
		return nil
	}
	return k.keys
}

// fetchAnew returns the key set after a fetch, which it shares with whoever else waits
// for one, and whether that fetch succeeded. Where the allowance is used up, or the
// provider does not answer, it returns the last good set while that may still serve.
func (k *keySet) fetchAnew(ctx context.Context, allowance *bucket) (keys []jose.JSONWebKey, fresh bool, err error) {
	allowed := k.fetching.running() || allowance.take(k.now())
	if allowed {
		select {
		case <-k.fetching.start(k.update):
		case <-ctx.Done():
			return nil, false, refuse(ReasonProviderUnreachable, "waiting for the key set: %w", ctx.Err())
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	age := k.now().Sub(k.fetched)
	switch {
	case age < keysLifetime, k.lastErr != nil && age < keysGrace:
		return k.keys, allowed && k.lastErr == nil, nil
	case k.lastErr != nil:
		return nil, false, k.lastErr
	default:
		return nil, false, refuse(ReasonProviderUnreachable, "the key set is too old")
	}
}

// run fetches the key set ahead of need, so that a sign-in hardly ever waits for it.
func (k *keySet) run(ctx context.Context) {
	select {
	case <-k.provider.discovered:
	case <-ctx.Done():
		return
	}
	var retry backoff
	for {
		<-k.fetching.start(k.update)
		k.mu.Lock()
		err := k.lastErr
		k.mu.Unlock()
		wait := keysLifetime * 2 / 3
		if err != nil {
			wait = retry.next()
		} else {
			retry.reset()
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// update fetches once, and keeps what it had where that fails.
func (k *keySet) update() {
	defer survive(k.log, "key set")
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	keys, err := k.fetch(ctx)

	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		if k.lastErr == nil || k.lastErr.Error() != err.Error() {
			k.log.Warn("key set not fetched", "reason", ReasonOf(err), "error", err)
		}
		k.lastErr = err
		return
	}
	if added, removed := changedKeys(k.keys, keys); k.keys != nil && added+removed != "" {
		k.log.Info("key set changed", "added", added, "removed", removed)
	}
	k.keys, k.fetched, k.lastErr = keys, k.now(), nil
}

// changedKeys names the keys that one set has and the other has not.
func changedKeys(before, after []jose.JSONWebKey) (added, removed string) {
	missing := func(from, in []jose.JSONWebKey) string {
		var names []string
		for _, key := range in {
			if !slices.ContainsFunc(from, func(k jose.JSONWebKey) bool { return k.KeyID == key.KeyID }) {
				names = append(names, strconv.Quote(key.KeyID))
			}
		}
		return strings.Join(names, " ")
	}
	return missing(before, after), missing(after, before)
}

func (k *keySet) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	m, err := k.provider.wait(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(calling(ctx, "jwks"), http.MethodGet, m.JWKSURI, nil)
	if err != nil {
		return nil, refuse(ReasonProviderMisconfigured, "key set: %w", err)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, refuse(ReasonProviderUnreachable, "key set: %w", err)
	}
	// Some providers label the document application/jwk-set+json, some text/plain:
	// what counts is that keys can be read from it.
	resp.Header.Set("Content-Type", "application/json")
	body, err := readJSON(resp)
	if err != nil {
		return nil, refuse(ReasonProviderUnreachable, "key set: %w", err)
	}
	keys, err := parseKeys(body)
	if err != nil {
		return nil, &Error{Reason: ReasonProviderMisconfigured, Err: err}
	}
	return keys, nil
}

// bucket allows so many fetches at once and one more every refetchInterval.
type bucket struct {
	burst   int
	mu      sync.Mutex
	used    int
	counted time.Time
}

// take reports whether a fetch is allowed now, and counts it.
func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if regained := int(now.Sub(b.counted) / refetchInterval); regained > 0 {
		b.used = max(0, b.used-regained)
		b.counted = now
	}
	if b.used >= b.burst {
		return false
	}
	b.used++
	return true
}
