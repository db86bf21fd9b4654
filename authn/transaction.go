package authn

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"latchkey/authn/openid"
)

const (
	transactionLifetime = 15 * time.Minute
	// A browser keeps several unfinished sign-ins, one per tab. Beyond these bounds the oldest
	// is dropped, or the Cookie header would grow until servers refuse it.
	maxTransactions     = 7
	maxTransactionBytes = 3500
	// maxStatePath bounds the return paths that a state holds: an authorization request should
	// stay below the 2,083 characters of an address that office programs pass on.
	maxStatePath = 512

	againMark = "again:" // before the path in a state, which begins with a slash

	transactionCookie    = "txn_"
	transactionNameBytes = 8 // of the state, in the cookie's name
	transactionPurpose   = "transaction"
	statePurpose         = "state"
	transactionFormat    = 3
)

// transaction is one attempt to sign in, from the authorization request to its response. It
// lives in a sealed cookie named for its state, so that two tabs can sign in at once and the
// server keeps nothing for visitors who never come back.
type transaction struct {
	state    string // the random part of the state; see stateOf
	nonce    string // OpenID Connect Core 1.0 section 3.1.2.1
	verifier string // RFC 7636 section 4.1
	returnTo ReturnPath
	again    bool          // in the state only
	demand   openid.Demand // OpenID Connect Core 1.0 section 3.1.3.7 (12, 13): checked on return
	// organization is the one that the link requested, "" for none.
	organization string
	started      time.Time
	// binding is a hash of issuer, client and redirect URI. A response that arrives after
	// these have changed is not for the new ones (RFC 9700 section 4.4).
	binding Key
	// previous is the session that the browser had, whose own cookie does not come with a
	// form_post. Zero if there was none.
	previous previousSession
}

func (rp *RelyingParty) newTransaction(request SignInRequest, session *Session) *transaction {
	t := &transaction{
		state:        openid.RandomToken(),
		nonce:        openid.RandomToken(),
		verifier:     oauth2.GenerateVerifier(),
		returnTo:     request.ReturnTo,
		again:        request.Again,
		demand:       request.Demand,
		organization: openid.Hint(request.Link, "organization"),
		started:      rp.cfg.Now(),
		binding:      rp.binding,
	}
	if session != nil {
		t.previous = previousSession{key: session.record.Key, secret: session.secret}
	}
	return t
}

// logID names the sign-in in logs, from its beginning to its end.
func (t *transaction) logID() string { return logID(NewKey("sign-in", t.state)) }

func (t *transaction) cookieName() string { return transactionCookie + t.state[:transactionNameBytes] }

// stateOf returns the state of the transaction's authorization request (RFC 6749 section 10.12): 256
// random bits and, sealed, whether this sign-in was started again and its return path. These are for a
// response without the transaction, because its cookie has expired or was not sent, or because a mail
// or office program opened the link first and passed on only the provider's address. Such a response
// signs nobody in, but the sign-in that starts over leads to the same page.
func (rp *RelyingParty) stateOf(t *transaction) (string, error) {
	path := t.returnTo.path
	if len(path) > maxStatePath {
		path = ""
	}
	if path == "" && !t.again {
		return t.state, nil
	}
	if t.again {
		path = againMark + path
	}
	random, err := base64.RawURLEncoding.DecodeString(t.state)
	if err != nil {
		return "", err
	}
	sealed, err := rp.cfg.Keys.seal(statePurpose, nil, []byte(path), random)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(random, sealed...)), nil
}

// parseState returns what a state says about its transaction, or nil if stateOf did not return it.
func (rp *RelyingParty) parseState(state string) *transaction {
	const random = 32
	// Strict: without it several spellings of a state would count.
	raw, err := base64.RawURLEncoding.Strict().DecodeString(state)
	if err != nil || len(raw) < random {
		return nil
	}
	t := &transaction{state: base64.RawURLEncoding.EncodeToString(raw[:random])}
	if len(raw) == random {
		return t
	}
	plain, _, err := rp.cfg.Keys.open(statePurpose, nil, raw[random:], raw[:random])
	if err != nil {
		return nil
	}
	path, again := strings.CutPrefix(string(plain), againMark)
	t.again = again
	t.returnTo, _ = ParseReturnPath(path)
	return t
}

func (t *transaction) encode() []byte {
	var e encoder
	e.byte(transactionFormat)
	e.string(t.state)
	e.string(t.nonce)
	e.string(t.verifier)
	e.string(t.returnTo.path)
	encodeDemand(&e, t.demand)
	e.string(t.organization)
	e.time(t.started)
	e.bytes(t.binding[:])
	e.bytes(t.previous.key[:])
	e.bytes(t.previous.secret)
	return e.buf
}

func decodeTransaction(b []byte) (*transaction, error) {
	d := decoder{buf: b}
	if d.byte() != transactionFormat {
		return nil, errEncoding
	}
	t := &transaction{
		state: d.string(), nonce: d.string(), verifier: d.string(), returnTo: decodeReturnPath(&d),
		demand: decodeDemand(&d), organization: d.string(), started: d.time(),
	}
	for _, key := range []*Key{&t.binding, &t.previous.key} {
		if copy(key[:], d.bytes()) != len(key) {
			return nil, errEncoding
		}
	}
	t.previous.secret = d.bytes()
	return t, d.err()
}

// storeTransaction seals the transaction into its cookie and makes room for it.
func (rp *RelyingParty) storeTransaction(w http.ResponseWriter, r *http.Request, t *transaction) error {
	sealed, err := rp.cfg.Keys.seal(transactionPurpose, nil, t.encode(), []byte(t.cookieName()))
	if err != nil {
		return err
	}
	value := base64.RawURLEncoding.EncodeToString(sealed)
	rp.evict(w, r, len(value))
	rp.cookies.set(w, t.cookieName(), value, transactionLifetime, rp.transactionSite())
	return nil
}

// transactionSite lets the cookie come with the provider's cross-site POST in form_post mode,
// and only then.
func (rp *RelyingParty) transactionSite() http.SameSite {
	if rp.provider.FormPost() {
		return http.SameSiteNoneMode
	}
	return http.SameSiteLaxMode
}

// evict clears transactions that have expired or cannot be opened, and then the oldest ones
// until there is room for a new one of the given size.
func (rp *RelyingParty) evict(w http.ResponseWriter, r *http.Request, room int) {
	type live struct {
		base    string
		bytes   int
		started time.Time
	}
	var alive []live
	for _, c := range r.Cookies() {
		base, ok := rp.cookies.base(c.Name)
		sealed, written := parseTransactionCookie(base, c.Value)
		if !ok || !written {
			continue
		}
		t, err := rp.openTransaction(base, sealed)
		if err != nil || rp.expired(t) {
			rp.cookies.clear(w, base, rp.transactionSite())
			continue
		}
		alive = append(alive, live{base, len(c.Name) + len(c.Value), t.started})
		room += len(c.Name) + len(c.Value)
	}
	slices.SortFunc(alive, func(a, b live) int { return cmp.Or(a.started.Compare(b.started), cmp.Compare(a.base, b.base)) })
	for len(alive) > 0 && (len(alive) >= maxTransactions || room > maxTransactionBytes) {
		rp.cookies.clear(w, alive[0].base, rp.transactionSite())
		room -= alive[0].bytes
		alive = alive[1:]
	}
}

// minTransactionBytes is less than any sealed transaction has: its three tokens have 129.
const minTransactionBytes = 128

// parseTransactionCookie returns the sealed transaction in a cookie, and whether the cookie has the
// form of those that storeTransaction writes.
func parseTransactionCookie(base, value string) (sealed []byte, ok bool) {
	if !strings.HasPrefix(base, transactionCookie) || len(base) != len(transactionCookie)+transactionNameBytes {
		return nil, false
	}
	// Strict: without it several spellings of a value would open.
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
	return sealed, err == nil && len(sealed) >= minTransactionBytes
}

func (rp *RelyingParty) openTransaction(base string, sealed []byte) (*transaction, error) {
	plain, _, err := rp.cfg.Keys.open(transactionPurpose, nil, sealed, []byte(base))
	if err != nil {
		return nil, err
	}
	return decodeTransaction(plain)
}

// signingIn reports whether this browser has a transaction that can still be completed.
func (rp *RelyingParty) signingIn(r *http.Request) bool {
	return slices.ContainsFunc(r.Cookies(), func(c *http.Cookie) bool {
		base, ok := rp.cookies.base(c.Name)
		sealed, written := parseTransactionCookie(base, c.Value)
		if !ok || !written {
			return false
		}
		t, err := rp.openTransaction(base, sealed)
		return err == nil && !rp.expired(t)
	})
}

func (rp *RelyingParty) expired(t *transaction) bool {
	return rp.cfg.Now().Sub(t.started) > transactionLifetime
}

// takeTransaction returns the transaction that an authorization response belongs to and clears
// its cookie, also if the transaction cannot be used. The cookie is this browser's proof that it
// started the sign-in; without it the response belongs to another browser (RFC 9700 section 4.7).
func (rp *RelyingParty) takeTransaction(w http.ResponseWriter, r *http.Request, state string) (*transaction, error) {
	known := rp.parseState(state)
	if known == nil {
		return nil, missing("the state is not one of this application's")
	}
	base := known.cookieName()
	value, ok := rp.cookies.get(r, base)
	if !ok {
		return nil, known.failed(missing("this browser sent no transaction for the state"))
	}
	sealed, ok := parseTransactionCookie(base, value)
	if !ok {
		return nil, known.failed(missing("the cookie holds no transaction"))
	}
	rp.cookies.clear(w, base, rp.transactionSite())
	t, err := rp.openTransaction(base, sealed)
	if err != nil {
		return nil, known.failed(missing("the transaction cannot be opened: %w", err))
	}
	if !openid.EqualSecret(known.state, t.state) {
		return nil, known.failed(missing("the transaction is of another state"))
	}
	if rp.expired(t) {
		return nil, t.failed(&openid.Error{Reason: ReasonTransactionExpired})
	}
	if rp.ofAnother(t) {
		// RFC 9700 section 4.4.2.2: the redirect URI that the response arrived at is not that of the
		// provider that was asked.
		return nil, t.failed(&openid.Error{Reason: openid.ReasonIssuerMismatch, Err: errors.New("the response belongs to a sign-in at another provider")})
	}
	if t.binding != rp.binding {
		return nil, t.failed(&openid.Error{Reason: ReasonConfigurationChanged})
	}
	return t, nil
}

func missing(format string, args ...any) error {
	return &openid.Error{Reason: ReasonTransactionMissing, Err: fmt.Errorf(format, args...)}
}

// decodeReturnPath reads a return path that was one when it was sealed.
func decodeReturnPath(d *decoder) ReturnPath {
	p, _ := ParseReturnPath(d.string())
	return p
}

func encodeDemand(e *encoder, d openid.Demand) {
	e.int(int64(d.MaxAge))
	e.string(strings.Join(d.ACR, " ")) // as acr_values is written
}

func decodeDemand(d *decoder) openid.Demand {
	return openid.Demand{MaxAge: time.Duration(d.int()), ACR: strings.Fields(d.string())}
}
