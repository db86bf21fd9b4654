package authn

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"latchkey/authn/openid"
)

const (
	// revokeTimeout bounds what a person waits for at sign-out.
	revokeTimeout = 2 * time.Second

	logoutCookie   = "logout"
	withoutState   = "none" // in place of a state, for a sign-out that brings none back
	onlyHere       = "here" // in place of a state, for a sign-out that does not reach the provider
	logoutLifetime = 10 * time.Minute

	// endingMemory is how long the store remembers that a session was ended, or that sign-ins were
	// revoked. It outlasts everything that could bring the session back: a sign-in in progress,
	// with its transaction and the age that an ID token may have, and a request that holds the
	// session, with its refresh (callbackTimeout) and its write (writeTimeout). An open page asks
	// for the cause within seconds; one that comes later says only that the person has to sign
	// in. It is no longer, because each sign-in leaves one ended session: for as long as the store
	// remembers them, one account can make it grow.
	endingMemory = transactionLifetime + 10*time.Minute + openid.Leeway
)

// EndSessionURL returns where the browser is to be sent so that the provider's session ends
// too, and "" if there is no such place or the provider has not been discovered: the browser
// then goes straight to where the provider would have sent it back to. A cookie keeps what
// Returned has to expect there.
func (rp *RelyingParty) EndSessionURL(w http.ResponseWriter, session *Session) string {
	address, state := rp.provider.EndSessionURL(openid.EndSessionRequest{
		ReturnTo: rp.provider.PostLogoutRedirectURL(), Federated: true,
		IDTokenHint: session.tokens.IDToken, LoginHint: session.Identity.IDToken.String("login_hint"),
	})
	if address == "" {
		rp.SignedOutHere(w)
		return ""
	}
	rp.cookies.set(w, logoutCookie, cmp.Or(state, withoutState), logoutLifetime, http.SameSiteLaxMode)
	return address
}

// SignedOutHere notes, for Returned, a sign-out that does not reach the provider.
func (rp *RelyingParty) SignedOutHere(w http.ResponseWriter) {
	rp.cookies.set(w, logoutCookie, onlyHere, logoutLifetime, http.SameSiteLaxMode)
}

// Returned reports whether a request is the end of a sign-out, and whether the provider has ended
// its session too. A sign-out ends once.
//
// The provider has ended its session if it sends the state back. If it never does so, it is enough that
// the browser comes from another site. Any other request that comes from this site, or from none (a
// typed address or a bookmark), is a visit in another tab, which leaves the sign-out pending; so does a
// prefetch.
func (rp *RelyingParty) Returned(w http.ResponseWriter, r *http.Request) (signedOut, atProvider bool) {
	want, ok := rp.cookies.get(r, logoutCookie)
	if !ok || r.Method != http.MethodGet || !IsNavigation(r) {
		return false, false
	}
	site := r.Header.Get("Sec-Fetch-Site")
	elsewhere := site != "same-origin" && site != "none"
	switch want {
	case onlyHere:
	case withoutState:
		atProvider = elsewhere
	default:
		if !isToken(want) {
			return false, false // another application's cookie
		}
		states := r.URL.Query()["state"]
		atProvider = len(states) == 1 && openid.EqualSecret(states[0], want)
	}
	if !atProvider && !elsewhere && want != onlyHere {
		return false, false
	}
	rp.cookies.clear(w, logoutCookie, http.SameSiteLaxMode)
	return true, atProvider
}

// RevokeTokens revokes the refresh token of a session that End has ended (RFC 7009), and with it the
// access tokens that it gave. It waits two seconds at most. A failure is logged, and changes
// nothing for the person, whose session has ended already.
func (rp *RelyingParty) RevokeTokens(ctx context.Context, session *Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	if err := rp.provider.Revoke(ctx, session.tokens.Refresh); err != nil {
		rp.cfg.Log.WarnContext(ctx, "refresh token not revoked", "session", session.LogID(), "error", err)
	}
}

// End ends a session in the store. After it has returned nil the cookie opens nothing, on any
// node, and session has the last tokens, for RevokeTokens. The *openid.Error has
// ReasonStoreUnavailable.
func (s *Sessions) End(ctx context.Context, session *Session, cause Cause) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	// This request may have loaded the session without its tokens, or another one may have
	// refreshed them since.
	last, err := s.load(ctx, session.record.Key, session.secret)
	if _, ended := errors.AsType[*EndedError](err); ended {
		return nil
	}
	if err == nil {
		session.tokens, session.partial, session.hasRefreshToken = last.tokens, false, false
	} else if session.partial {
		return err // nobody could revoke the tokens
	}
	if err := s.end(ctx, session.record.Key, session.record.Owner, cause); err != nil {
		return unavailable(err)
	}
	return nil
}

// end ends a session in the store, and tells its open pages at once.
func (s *Sessions) end(ctx context.Context, key, owner Key, cause Cause) error {
	err := s.store.End(ctx, key, cause, s.now().Add(endingMemory))
	if err == nil {
		s.noteEnded(ctx, cause, owner, key)
	}
	return err
}

// noteEnded tells the open pages of sessions, the metrics and the log that they were ended. owner is
// the zero Key if it is not known whose they were.
func (s *Sessions) noteEnded(ctx context.Context, cause Cause, owner Key, keys ...Key) {
	s.cache.drop(keys...)
	s.watchers.wake(keys...)
	for _, key := range keys {
		s.metrics.GetOrCreateCounter(sessionsEndedBy(cause.String())).Inc()
		attributes := []any{"event", EventSessionEnded, "session", logID(key), "cause", cause.String(), "by", cause.by()}
		if owner != (Key{}) {
			attributes = append(attributes, "person", personID(owner))
		}
		s.log.InfoContext(ctx, "session ended", attributes...)
	}
}

// EndAll ends the sessions that a logout token names: those of the provider session if it has a sid,
// and otherwise all of the subject's (OpenID Connect Back-Channel Logout 1.0 section 2.7). A sign-in
// that is under way is refused when it completes; a later one is not affected. It is not an error if
// there is nothing to end. An *openid.Error with openid.ReasonLogoutTokenInvalid means that the sid
// belongs to another subject. ctx alone bounds it.
func (s *Sessions) EndAll(ctx context.Context, t *openid.LogoutToken) (int, error) {
	meant, owner := s.keys.owner(t.Issuer, t.Subject), Key{}
	if t.Subject != "" {
		owner = meant.current()
	}
	if t.SID != "" {
		person := meant
		meant = s.keys.providerSession(t.Issuer, t.SID)
		if t.Subject != "" {
			if err := s.checkOwner(ctx, meant, person); err != nil {
				return 0, err
			}
		}
	}
	ended, err := s.revoke(ctx, meant, t.IssuedAt, s.now().Add(endingMemory))
	s.noteEnded(ctx, CauseProvider, owner, ended...) // also if it fails half-way
	if err != nil {
		return 0, unavailable(err)
	}
	return len(ended), nil
}

// EndProviderSession ends the sessions of one session at the provider. It stores nothing if
// there is none: anyone can ask for it.
func (s *Sessions) EndProviderSession(ctx context.Context, issuer, sid string) (int, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutTimeout)
	defer cancel()
	records, err := s.list(ctx, s.keys.providerSession(issuer, sid))
	if err != nil {
		return 0, unavailable(err)
	}
	return s.endRecords(ctx, records, CauseProvider)
}

func (s *Sessions) checkOwner(ctx context.Context, providerSession, owner names) error {
	records, err := s.list(ctx, providerSession)
	if err != nil {
		return unavailable(err)
	}
	for _, record := range records {
		if !slices.Contains(owner, record.Owner) {
			return &openid.Error{Reason: openid.ReasonLogoutTokenInvalid, Err: errors.New("the sid belongs to another subject")}
		}
	}
	return nil
}
