package authn

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"latchkey/authn/openid"
)

const (
	proofKind    = "dpop proof"
	noncePurpose = "dpop nonce"
	// nonceStep is for how long a nonce is the current one. It is accepted for another step.
	nonceStep = 2 * time.Minute
	// proofRate and proofBurst limit how many DPoP proofs of one caller a process accepts, because the
	// store remembers each of them for three minutes at most.
	proofRate  = rate.Limit(200) // a second
	proofBurst = 2_000
)

// ResourceServer accepts access tokens for the application's own API (RFC 6749 section 1.1). It
// remembers DPoP proofs in the store, so that a proof which one node has accepted is no good at any.
type ResourceServer struct {
	store   Store
	now     func() time.Time
	callers *Limits[Key]
	bound   bool // accepts bound tokens only
	// nonceKeys make the nonces, the current key first; nil demands none.
	nonceKeys [][]byte
}

// NewResourceServer returns the resource server of an application.
func NewResourceServer(cfg Config) (*ResourceServer, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.measured()
	s := &ResourceServer{store: cfg.Store, now: cfg.Now, callers: NewLimits[Key](proofRate, proofBurst), bound: cfg.BoundTokens}
	if cfg.ProofNonces {
		for _, secret := range cfg.Keys.secrets {
			key, err := deriveKey(secret, nil, noncePurpose)
			if err != nil {
				return nil, err
			}
			s.nonceKeys = append(s.nonceKeys, key)
		}
	}
	return s, nil
}

// Accept verifies an access token of a provider. It checks that the sender has the key that the token is
// bound to, if there is one, that the DPoP proof was not used before, and that the proof has a nonce of
// this application, if nonces are demanded.
//
// The error is an *openid.Error with a reason of Provider.VerifyAccessToken, ReasonNonceNeeded, ReasonTooManyCalls
// or ReasonStoreUnavailable.
func (s *ResourceServer) Accept(ctx context.Context, provider *openid.Provider, sent openid.Presented) (*openid.AccessToken, error) {
	t, err := provider.VerifyAccessToken(ctx, sent)
	switch {
	case err != nil:
		return nil, err
	case s.bound && t.Confirmation == openid.Confirmation{}:
		return nil, &openid.Error{Reason: openid.ReasonAccessTokenInvalid, Err: errors.New("the token is not bound to a key, and only bound tokens are accepted")}
	case t.Proof == nil:
		return t, nil
	}
	if !s.knowsNonce(t.Proof.Nonce) {
		return nil, &openid.Error{Reason: ReasonNonceNeeded, Err: errors.New("the DPoP proof does not have a current nonce")}
	}
	if wait := s.callers.Take(NewKey("caller", t.Issuer, t.Subject, t.ClientID), s.now()); wait > 0 {
		return nil, &openid.Error{Reason: ReasonTooManyCalls, RetryAfter: wait, Err: errors.New("too many DPoP proofs of one caller")}
	}
	if err := s.useProof(ctx, t); err != nil {
		return nil, err
	}
	return t, nil
}

// useProof refuses a proof that has been used (RFC 9449 section 11.1). Proofs of different keys may
// have the same jti: otherwise, anyone could use up the jti of somebody else.
//
// Like Sessions.Load, it continues if the request is cancelled.
func (s *ResourceServer) useProof(ctx context.Context, t *openid.AccessToken) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	first, err := s.store.Once(ctx, NewKey(proofKind, t.Confirmation.Key, t.Proof.ID), t.Proof.Expires.Add(openid.Leeway))
	switch {
	case err != nil:
		return unavailable(fmt.Errorf("authn: DPoP proof: %w", err))
	case !first:
		return &openid.Error{Reason: openid.ReasonProofInvalid, Err: errors.New("the DPoP proof was used before")}
	}
	return nil
}

// Nonce returns the nonce for the next DPoP proofs of a client (RFC 9449 section 9), or "" if none is
// demanded. A nonce shows that a proof was not made long in advance. It is a MAC of the time under the
// application's secret, so every node can check it, and none has to store it.
func (s *ResourceServer) Nonce() string {
	if s.nonceKeys == nil {
		return ""
	}
	return nonceOf(s.nonceKeys[0], s.step())
}

// knowsNonce reports whether a nonce may be in a proof now. The clock of the node that made it may be
// a little ahead, and its secret may be the one that is being replaced.
func (s *ResourceServer) knowsNonce(nonce string) bool {
	for _, key := range s.nonceKeys {
		for step := s.step() - 1; step <= s.step()+1; step++ {
			if hmac.Equal([]byte(nonce), []byte(nonceOf(key, step))) {
				return true
			}
		}
	}
	return s.nonceKeys == nil
}

// step counts the time in steps of nonceStep.
func (s *ResourceServer) step() int64 { return s.now().Unix() / int64(nonceStep/time.Second) }

func nonceOf(key []byte, step int64) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(step)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
