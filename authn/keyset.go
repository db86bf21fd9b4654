package authn

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
	// name unknown keys. Two fetches may follow each other; after that, one in
	// refetchInterval.
	refetchInterval = 30 * time.Second
	refetchBurst    = 2
	maxKeys         = 100
	minRSABits      = 2048
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

	mu       sync.Mutex
	keys     []jose.JSONWebKey
	fetched  time.Time
	refetch  bucket
	inflight chan struct{}
	lastErr  error
}

// VerifySignature implements oidc.KeySet. The caller has pinned the algorithm.
func (k *keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(jwt, signatureAlgorithms)
	if err != nil {
		return nil, errors.New("authn: not a signed JWT of a known algorithm")
	}
	header := jws.Signatures[0].Header
	if payload, ok := verifyWith(k.trusted(), jws, header); ok {
		return payload, nil
	}
	keys, err := k.fetchAnew(ctx)
	if err != nil {
		return nil, err
	}
	if payload, ok := verifyWith(keys, jws, header); ok {
		return payload, nil
	}
	return nil, errNoKey
}

// signatureAlgorithms are the asymmetric algorithms of RFC 7518 and RFC 8037 that
// may be configured at all. Neither none nor HS*: with HS* the provider's public
// key, or our own client secret, would be the key.
var signatureAlgorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// verifyWith tries the keys that fit the header. Without a kid there must be
// exactly one such key: trying several would let a weak one stand in for another.
func verifyWith(keys []jose.JSONWebKey, jws *jose.JSONWebSignature, header jose.Header) ([]byte, bool) {
	var candidates []jose.JSONWebKey
	for _, key := range keys {
		if (header.KeyID == "" || key.KeyID == header.KeyID) && fits(key, header.Algorithm) {
			candidates = append(candidates, key)
		}
	}
	if header.KeyID == "" && len(candidates) != 1 {
		return nil, false
	}
	for _, key := range candidates {
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, true
		}
	}
	return nil, false
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

// fetchAnew returns the key set after a fetch, which it shares with whoever else
// waits for one. Where the allowance is used up, or the provider does not answer,
// it returns the last good set while that may still serve.
func (k *keySet) fetchAnew(ctx context.Context) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	now := k.now()
	if k.inflight == nil && !k.refetch.take(now) {
		defer k.mu.Unlock()
		return k.lastGoodLocked(now)
	}
	done := k.startLocked()
	k.mu.Unlock()

	select {
	case <-done:
	case <-ctx.Done():
		return nil, refuse(ReasonProviderUnreachable, "waiting for the key set: %w", ctx.Err())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lastGoodLocked(k.now())
}

// lastGoodLocked returns what serves when nothing newer is to be had.
func (k *keySet) lastGoodLocked(now time.Time) ([]jose.JSONWebKey, error) {
	age := now.Sub(k.fetched)
	if age < keysLifetime || (k.lastErr != nil && age < keysGrace) {
		return k.keys, nil
	}
	if k.lastErr != nil {
		return nil, k.lastErr
	}
	return nil, refuse(ReasonProviderUnreachable, "the key set is too old")
}

// run fetches the key set ahead of need, so that a sign-in hardly ever waits for it.
func (k *keySet) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		wait := firstRetry
		if _, err := k.provider.Metadata(ctx); err == nil {
			k.mu.Lock()
			done := k.startLocked()
			k.mu.Unlock()
			<-done
			wait = lastRetry
			if k.healthy() {
				wait = keysLifetime * 2 / 3
			}
		}
		timer.Reset(wait)
	}
}

func (k *keySet) healthy() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lastErr == nil && len(k.keys) > 0
}

func (k *keySet) startLocked() <-chan struct{} {
	if k.inflight != nil {
		return k.inflight
	}
	done := make(chan struct{})
	k.inflight = done
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		keys, err := k.fetch(ctx)

		k.mu.Lock()
		defer k.mu.Unlock()
		k.lastErr = err
		if err == nil {
			k.keys, k.fetched = keys, k.now()
		} else {
			k.log.Warn("key set not fetched", "reason", ReasonOf(err), "error", err)
		}
		k.inflight = nil
		close(done)
	}()
	return done
}

func (k *keySet) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	m, err := k.provider.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.JWKSURI, nil)
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

// parseKeys reads the public signature keys out of a key set. A key that is
// malformed, of an unknown kind or not for signatures is skipped by itself (RFC
// 7517 section 5). A set without any usable key is refused, so that it does not
// replace one that has some.
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

// usable accepts public keys for signatures (RFC 7517 section 4.2) of a strength
// that still means something. A private key that is published signs for everybody.
func usable(key jose.JSONWebKey) bool {
	if !key.IsPublic() || (key.Use != "" && key.Use != "sig") {
		return false
	}
	return slices.ContainsFunc(signatureAlgorithms, func(alg jose.SignatureAlgorithm) bool {
		return fits(key, string(alg))
	})
}

// fits reports whether a key may verify a signature of this algorithm: its type and
// curve must be the algorithm's, and its own alg, if it has one, must be it.
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

// bucket allows refetchBurst fetches at once and one more every refetchInterval.
type bucket struct {
	used    int
	counted time.Time
}

// take reports whether a fetch is allowed now, and counts it.
func (b *bucket) take(now time.Time) bool {
	if regained := int(now.Sub(b.counted) / refetchInterval); regained > 0 {
		b.used = max(0, b.used-regained)
		b.counted = now
	}
	if b.used >= refetchBurst {
		return false
	}
	b.used++
	return true
}
