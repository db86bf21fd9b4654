package authn

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"latchkey/authn/openid"
)

// Seal and Open seal and open transactions and sessions.

func (k *Keys) Seal(purpose string, salt, plaintext, additional []byte) ([]byte, error) {
	return k.seal(purpose, salt, plaintext, additional)
}

func (k *Keys) Open(purpose string, salt, sealed, additional []byte) (plaintext []byte, current bool, err error) {
	return k.open(purpose, salt, sealed, additional)
}

// SealTransaction returns the cookie of a transaction whose encoded form is plain. With
// OpenTransaction it lets the fuzz target reach the decoder without a network.
func (rp *RelyingParty) SealTransaction(state string, plain []byte) (*http.Cookie, error) {
	t := transaction{state: state}
	sealed, err := rp.cfg.Keys.seal(transactionPurpose, nil, plain, []byte(t.cookieName()))
	return &http.Cookie{Name: rp.cookies.name(t.cookieName()), Value: base64.RawURLEncoding.EncodeToString(sealed)}, err
}

// OpenTransaction returns what SealTransaction sealed.
func (rp *RelyingParty) OpenTransaction(state, value string) ([]byte, error) {
	base := (&transaction{state: state}).cookieName()
	sealed, _ := parseTransactionCookie(base, value)
	t, err := rp.openTransaction(base, sealed)
	if err != nil {
		return nil, err
	}
	return t.encode(), nil
}

// Lease acquires the lease on a session's tokens, as a node that refreshes them does, and
// renews it until die is called, which imitates a node that dies.
func (ts *TokenSource) Lease(ctx context.Context, session *Session) (die context.CancelFunc, err error) {
	leased, holder, err := ts.acquireLease(ctx, session, signInAPI)
	kept, die := context.WithCancel(context.WithoutCancel(ctx))
	if err == nil {
		ts.background("lease renewal", func() { ts.renewLease(kept, leased, holder) })
	}
	return die, err
}

// Scope is the scope of the session's access token.
func (s *Session) Scope() string { return s.tokens.Scope }

// IDToken is the session's ID token.
func (s *Session) IDToken() openid.Secret { return s.tokens.IDToken }

// SessionOf returns a session with an id and a secret, and nothing else.
func SessionOf(id, secret string) *Session {
	return &Session{record: Record{Key: NewKey(sessionPurpose, id)}, secret: []byte(secret)}
}

// BoundCookie and ProvenUntil make and read the cookie that proves the key of a session.

func (k *Keys) BoundCookie(session *Session, until time.Time) string {
	return k.boundCookie(session, until)
}

func (k *Keys) ProvenUntil(session *Session, value string) time.Time {
	return k.provenUntil(session, value)
}
