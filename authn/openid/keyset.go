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
	keys    []publishedKey
	skipped []skippedKey
	fetched time.Time
	lastErr error
}

// verify returns the payload of a token whose signature one of the keys verifies. A key that
// is not known is fetched, if limit allows. The caller has pinned the algorithm.
func (k *keySet) verify(ctx context.Context, jws *jose.JSONWebSignature, by issued, limit *rate.Limiter) ([]byte, error) {
	if payload, _, ok := verifyWith(k.trusted(), jws, by); ok {
		return payload, nil
	}
	keys, age, err := k.refetch(ctx, limit)
	if err != nil {
		return nil, err
	}
	payload, known, ok := verifyWith(keys, jws, by)
	if !ok && age == joined {
		if keys, age, err = k.refetch(ctx, limit); err != nil {
			return nil, err
		}
		payload, known, ok = verifyWith(keys, jws, by)
	}
	switch {
	case ok:
		return payload, nil
	case age != kept || known:
		return nil, errNoKey
	default:
		// The provider may have a key that could not be fetched, so the token may be good.
		return nil, refuse(ReasonProviderUnreachable, "the token's key is not known, and the key set cannot be fetched now")
	}
}

// verifyWith tries the keys with the token's kid, and reports whether there are any. If either side has no
// kid, exactly one key must fit: trying several would let a weak one stand in for another.
func verifyWith(keys []publishedKey, jws *jose.JSONWebSignature, by issued) (payload []byte, known, ok bool) {
	header := jws.Signatures[0].Header
	var candidates, nameless []publishedKey
	for _, key := range keys {
		switch {
		case !fits(key.JSONWebKey, header.Algorithm) || !key.mayVerify(by):
		case header.KeyID != "" && key.KeyID == header.KeyID:
			candidates = append(candidates, key)
		case header.KeyID == "" || key.KeyID == "":
			nameless = append(nameless, key)
		}
	}
	known = len(candidates)+len(nameless) > 0
	if len(candidates) == 0 {
		if candidates = nameless; len(candidates) != 1 {
			return nil, known, false
		}
	}
	for _, key := range candidates {
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, known, true
		}
	}
	return nil, known, false
}

// trusted returns the keys that may be used without asking the provider.
func (k *keySet) trusted() []publishedKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now().Sub(k.fetched) >= keysLifetime {
		return nil
	}
	return k.keys
}

// errFetchLimited says that a limit does not allow another fetch now.
var errFetchLimited = errors.New("the key set was fetched a moment ago")

// keysAge says which fetch a key set is from.
type keysAge int

const (
	kept    keysAge = iota // from a fetch before, because another one was not allowed or failed
	joined                 // from a fetch that was under way, and may have begun before a new key was published
	fetched                // from a fetch that began after it was asked for
)

// refetch returns the key set after a fetch, which it shares with others that wait for one. If
// the limit is used up, or the provider does not answer, it returns the last good set as long as
// that may stay in use.
func (k *keySet) refetch(ctx context.Context, limit *rate.Limiter) ([]publishedKey, keysAge, error) {
	from, err := k.fetchWithin(ctx, limit)
	if err != nil {
		return nil, kept, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lastErr != nil {
		from = kept
	}
	age := k.now().Sub(k.fetched)
	switch {
	case age < keysLifetime, k.lastErr != nil && age < keysGrace:
		return k.keys, from, nil
	case k.lastErr != nil:
		return nil, kept, k.lastErr
	default:
		return nil, kept, refuse(ReasonProviderUnreachable, "the key set is too old")
	}
}

// fetchWithin fetches once, if the limit allows it. Joining a fetch that is under way does not count
// against the limit. If another caller's limit did not allow that fetch, fetchWithin tries again
// under its own limit.
func (k *keySet) fetchWithin(ctx context.Context, limit *rate.Limiter) (keysAge, error) {
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
			switch {
			case result.Err == nil && leading:
				return fetched, nil
			case result.Err == nil:
				return joined, nil
			case leading:
				return kept, nil
			}
		case <-ctx.Done():
			return kept, refuse(ReasonProviderUnreachable, "waiting for the key set: %w", ctx.Err())
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
	keys, skipped, err := k.fetch(ctx)

	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		if k.lastErr == nil || k.lastErr.Error() != err.Error() {
			k.log.Warn("key set not fetched", "reason", ReasonOf(err), "error", err)
		}
		k.lastErr = err
		return
	}
	if !slices.Equal(skipped, k.skipped) {
		for _, key := range skipped {
			k.log.Info("key skipped", "kid", key.kid, "reason", key.reason)
		}
		k.skipped = skipped
	}
	if added, removed := changedKeys(k.keys, keys); k.keys != nil && added+removed != "" {
		k.log.Info("key set changed", "added", added, "removed", removed)
	}
	k.keys, k.fetched, k.lastErr = keys, k.now(), nil
}

// changedKeys names the keys that only one of two sets has.
func changedKeys(before, after []publishedKey) (added, removed string) {
	missing := func(from, in []publishedKey) string {
		var names []string
		for _, key := range in {
			if !slices.ContainsFunc(from, func(k publishedKey) bool { return k.KeyID == key.KeyID }) {
				names = append(names, strconv.Quote(key.KeyID))
			}
		}
		return strings.Join(names, " ")
	}
	return missing(before, after), missing(after, before)
}

func (k *keySet) fetch(ctx context.Context) ([]publishedKey, []skippedKey, error) {
	m, err := k.discovery.wait(ctx)
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(calling(ctx, "jwks"), http.MethodGet, m.JWKSURI, nil)
	if err != nil {
		return nil, nil, refuse(ReasonProviderMisconfigured, "key set: %w", err)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, nil, refuse(ReasonProviderUnreachable, "key set: %w", err)
	}
	// Some providers label the document application/jwk-set+json, some text/plain: what
	// counts is that keys can be read from it.
	resp.Header.Set("Content-Type", "application/json")
	body, err := readJSON(resp)
	if err != nil {
		return nil, nil, refuse(ReasonProviderUnreachable, "key set: %w", err)
	}
	keys, skipped, err := parseKeys(body)
	if err != nil {
		return nil, nil, &Error{Reason: ReasonProviderMisconfigured, Err: err}
	}
	return keys, skipped, nil
}

func (k *keySet) fetchedAt() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fetched
}

// CountKeys fetches the key set and returns how many signature keys it has, and how many of
// them fit one of the algorithms.
func (p *Provider) CountKeys(ctx context.Context, algorithms []string) (all, fitting int, err error) {
	keys, _, err := p.keySet.fetch(ctx)
	for _, key := range keys {
		if slices.ContainsFunc(algorithms, func(alg string) bool { return fits(key.JSONWebKey, alg) }) {
			fitting++
		}
	}
	return len(keys), fitting, err
}

// signatureAlgorithms are the asymmetric algorithms of RFC 7518 and RFC 8037 that may be
// configured at all. Neither none nor HS*: with HS* the provider's public key, or the client
// secret, would be the key.
var signatureAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// publishedKey is a key of the provider's.
type publishedKey struct {
	jose.JSONWebKey
	issuer string // see mayVerify
}

// skippedKey is a published key that verifies nothing here.
type skippedKey struct{ kid, reason string }

// parseKeys reads the public signature keys out of a key set. It skips each key that is
// malformed, of an unknown kind or not for signatures (RFC 7517 section 5). It refuses a set
// without any usable key, so that such a set does not replace one that has some.
func parseKeys(document []byte) (keys []publishedKey, skipped []skippedKey, err error) {
	var set map[string]json.RawMessage
	var list []json.RawMessage
	if json.Unmarshal(document, &set) != nil || (!absent(set["keys"]) && json.Unmarshal(set["keys"], &list) != nil) {
		return nil, nil, errors.New("the key set is not valid JSON")
	}
	if len(list) > maxKeys {
		return nil, nil, fmt.Errorf("the key set has %d keys, more than %d", len(list), maxKeys)
	}
	var reasons []string
	for _, raw := range list {
		key, err := parseKey(raw)
		if err == nil {
			keys = append(keys, key)
			continue
		}
		kid := fmt.Sprintf("%.100s", key.KeyID)
		skipped = append(skipped, skippedKey{kid, err.Error()})
		reasons = append(reasons, fmt.Sprintf("%q %v", kid, err))
	}
	if len(keys) == 0 {
		text := "the key set holds no usable signature key"
		if len(reasons) > 0 {
			text += ": " + strings.Join(reasons[:min(len(reasons), 5)], ", ")
		}
		return nil, nil, errors.New(text)
	}
	return keys, skipped, nil
}

var (
	// publicKeyMembers are what makes a key (RFC 7517 section 4, RFC 7518 section 6, RFC 8037
	// section 2). All other members are decoration: nobody here uses a key's certificates.
	publicKeyMembers = []string{"kty", "use", "alg", "kid", "crv", "x", "y", "n", "e"}
	// privateKeyMembers are the secret half of a key.
	privateKeyMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}
)

// parseKey reads a public key for signatures (RFC 7517 section 4.2) of sufficient strength. The
// error says why raw is not such a key, and comes with the key's kid. A published private key is
// refused, because anyone could sign with it.
func parseKey(raw json.RawMessage) (key publishedKey, err error) {
	members, err := parseStrict(raw)
	if err != nil {
		return key, err
	}
	if key.KeyID, err = members.string("kid"); err != nil {
		return key, err
	}
	if slices.ContainsFunc(privateKeyMembers, members.has) {
		return key, errors.New("is a private or a symmetric key")
	}
	if key.issuer, err = members.string("issuer"); err != nil {
		key.issuer = "unknown" // matches no issuer; see mayVerify
	}
	use, err := members.string("use")
	if err != nil {
		return key, err
	}
	if use != "" && use != "sig" {
		return key, fmt.Errorf("is for %.20q, not for signatures", use)
	}
	public := make(strictClaims)
	for _, name := range publicKeyMembers {
		public[name] = members[name] // null if it is not there
	}
	document, err := json.Marshal(public)
	if err != nil {
		return key, err
	}
	parsed := jose.JSONWebKey{}
	if parsed.UnmarshalJSON(document) != nil {
		return key, errors.New("is malformed, or of an unknown type")
	}
	if rsaKey, ok := parsed.Key.(*rsa.PublicKey); ok && rsaKey.N.BitLen() < minRSABits {
		return key, fmt.Errorf("is an RSA key of %d bits, fewer than %d", rsaKey.N.BitLen(), minRSABits)
	}
	if !slices.ContainsFunc(signatureAlgorithms, func(alg string) bool { return fits(parsed, alg) }) {
		return key, fmt.Errorf("fits no signature algorithm (alg %.20q)", parsed.Algorithm)
	}
	key.JSONWebKey = parsed
	return key, nil
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
