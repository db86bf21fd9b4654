package openid

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

const (
	// keysLifetime is how long a fetched key set is trusted. A key that the provider has
	// withdrawn, because it leaked, is refused after that.
	keysLifetime = 15 * time.Minute
	// keysGrace is how long the last good set stays in use while fetching fails.
	keysGrace = time.Hour
	// An unknown key is reason to fetch the set again (OpenID Connect Core 1.0 section
	// 10.1.1), at once but not endlessly: anyone can send tokens that name unknown keys. A
	// burst of fetches may follow each other; after that, one every refetchInterval.
	refetchInterval = 30 * time.Second

	maxKeys    = 100
	minRSABits = 2048
)

// errNoKey says that the key set has no key that verifies a signature.
var errNoKey = errors.New("none of the provider's keys verifies the signature")

// keySet is the provider's key set (RFC 7517). Unlike go-oidc's own it bounds how often it
// fetches, keeps the last good set, forgets withdrawn keys, and skips each key that it does
// not understand.
type keySet struct {
	discovery *discovery
	client    *http.Client
	now       func() time.Time
	log       *slog.Logger

	flight singleflight.Group

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time
	lastErr error
}

// verify returns the payload of a token whose signature one of the keys verifies. A key that
// is not known is fetched, if limit allows. The caller has pinned the algorithm.
func (k *keySet) verify(ctx context.Context, jws *jose.JSONWebSignature, limit *rate.Limiter) ([]byte, error) {
	if payload, _, ok := verifyWith(k.trusted(), jws); ok {
		return payload, nil
	}
	keys, fresh, err := k.refetch(ctx, limit)
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
		// The provider may have a key that could not be fetched, so the token may be good.
		return nil, refuse(ReasonProviderUnreachable, "the token's key is not known, and the key set cannot be fetched now")
	}
}

// verifyWith tries the keys that fit the token, and reports whether there are any. Without a
// kid there must be exactly one: trying several would let a weak one stand in for another.
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

// errFetchLimited says that a limit does not allow another fetch now.
var errFetchLimited = errors.New("the key set was fetched a moment ago")

// refetch returns the key set after a fetch, which it shares with others that wait for one,
// and whether that fetch succeeded. If the limit is used up, or the provider does not answer,
// it returns the last good set as long as that may stay in use.
func (k *keySet) refetch(ctx context.Context, limit *rate.Limiter) (keys []jose.JSONWebKey, fresh bool, err error) {
	fetched, err := k.fetchWithin(ctx, limit)
	if err != nil {
		return nil, false, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	age := k.now().Sub(k.fetched)
	switch {
	case age < keysLifetime, k.lastErr != nil && age < keysGrace:
		return k.keys, fetched && k.lastErr == nil, nil
	case k.lastErr != nil:
		return nil, false, k.lastErr
	default:
		return nil, false, refuse(ReasonProviderUnreachable, "the key set is too old")
	}
}

// fetchWithin fetches once and reports whether the limit allowed it. To join a fetch that is
// under way counts against nobody's limit; one that another's limit did not allow is tried
// again under this one.
func (k *keySet) fetchWithin(ctx context.Context, limit *rate.Limiter) (fetched bool, err error) {
	for {
		var leading bool
		done := k.flight.DoChan("", func() (any, error) {
			if leading = true; !limit.AllowN(k.now(), 1) {
				return nil, errFetchLimited
			}
			k.update()
			return nil, nil
		})
		select {
		case result := <-done:
			if result.Err == nil || leading {
				return result.Err == nil, nil
			}
		case <-ctx.Done():
			return false, refuse(ReasonProviderUnreachable, "waiting for the key set: %w", ctx.Err())
		}
	}
}

// run fetches the key set ahead of need, so that a sign-in hardly ever waits for it.
func (k *keySet) run(ctx context.Context) {
	select {
	case <-k.discovery.discovered:
	case <-ctx.Done():
		return
	}
	keepFresh(ctx, keysLifetime*2/3, func() error {
		_, _, _ = k.flight.Do("", func() (any, error) { k.update(); return nil, nil })
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.lastErr
	})
}

// update fetches once, and keeps the old keys if that fails.
func (k *keySet) update() {
	defer RecoverPanic(k.log, "key set")
	ctx, cancel := context.WithTimeout(context.Background(), CallTimeout)
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

// changedKeys names the keys that only one of two sets has.
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
	m, err := k.discovery.wait(ctx)
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
	// Some providers label the document application/jwk-set+json, some text/plain: what
	// counts is that keys can be read from it.
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

func (k *keySet) fetchedAt() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fetched
}

// CountKeys fetches the key set and returns how many signature keys it has, and how many of
// them fit one of the algorithms.
func (p *Provider) CountKeys(ctx context.Context, algorithms []string) (all, fitting int, err error) {
	keys, err := p.keySet.fetch(ctx)
	for _, key := range keys {
		if slices.ContainsFunc(algorithms, func(alg string) bool { return fits(key, alg) }) {
			fitting++
		}
	}
	return len(keys), fitting, err
}

// signatureAlgorithms are the asymmetric algorithms of RFC 7518 and RFC 8037 that may be
// configured at all. Neither none nor HS*: with HS* the provider's public key, or the client
// secret, would be the key.
var signatureAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// parseKeys reads the public signature keys out of a key set. It skips each key that is
// malformed, of an unknown kind or not for signatures (RFC 7517 section 5). It refuses a set
// without any usable key, so that such a set does not replace one that has some.
func parseKeys(document []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, errors.New("the key set is not valid JSON")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has %d keys, more than %d", len(set.Keys), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && usable(key) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set holds no usable signature key")
	}
	return keys, nil
}

// usable accepts public keys for signatures (RFC 7517 section 4.2) of sufficient strength. A
// private key that is published signs for everyone.
func usable(key jose.JSONWebKey) bool {
	if !key.IsPublic() || (key.Use != "" && key.Use != "sig") {
		return false
	}
	return slices.ContainsFunc(signatureAlgorithms, func(alg string) bool { return fits(key, alg) })
}

// fits reports whether a key may verify a signature of an algorithm: its type and curve must
// be the algorithm's, and so must its own alg, if it has one.
func fits(key jose.JSONWebKey, alg string) bool {
	if key.Algorithm != "" && key.Algorithm != alg {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return (alg[:2] == "RS" || alg[:2] == "PS") && public.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		switch alg {
		case "ES256":
			return public.Curve == elliptic.P256()
		case "ES384":
			return public.Curve == elliptic.P384()
		case "ES512":
			return public.Curve == elliptic.P521()
		}
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}
