package authn

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"iter"
	"time"
)

// Key is a hash that names something without revealing it. In a Record it is the SHA-256 of a session's id,
// or an HMAC of an issuer and subject or of an issuer and sid. Other keys name what Once remembers, and the
// people and callers of [Limits]. The zero Key names nothing.
type Key [sha256.Size]byte

// NewKey hashes parts into a Key. Each part is preceded by its length, so that no two lists of
// parts share a key. kind separates the keys of different uses.
func NewKey(kind string, parts ...string) Key {
	b := append(binary.AppendUvarint(make([]byte, 0, 256), uint64(len(kind))), kind...)
	for _, p := range parts {
		b = append(binary.AppendUvarint(b, uint64(len(p))), p...)
	}
	return sha256.Sum256(b)
}

// Record is a session as a Store keeps it: the sealed session, and what must be known without the
// person's cookie.
type Record struct {
	// Key is the hash of the id in the cookie.
	Key Key
	// Owner is the HMAC of issuer and subject: whose session this is.
	Owner Key
	// ProviderSession is the HMAC of issuer and sid, the provider's id of its session; zero
	// if there is no sid.
	ProviderSession Key
	// Device is a short label of the browser, such as "Firefox on Linux".
	Device string
	// SignedIn is when the provider says that it issued the ID token. Revoke compares it with
	// the time of a logout token, which is of the same clock.
	SignedIn time.Time
	// LastSeen is when the person was last active, to the minute.
	LastSeen time.Time
	// Expires is when the session expires; Sweep drops it after that.
	Expires time.Time
	// Bound says that the session is bound to a key of the device, for the list of devices. Save sets
	// it.
	Bound bool
	// Version starts at 1 and grows by one with each Save.
	Version uint64
	// Sealed is opaque to the Store. Nobody changes its bytes: a store may keep the slice that it was
	// given, and give it to many.
	Sealed []byte
}

var (
	// ErrNotFound says that there is no such record: it never existed, has ended or was
	// swept. A store that cannot answer returns another error.
	ErrNotFound = errors.New("authn: no such session")
	// ErrConflict says that another writer has saved the record since it was loaded.
	ErrConflict = errors.New("authn: the session was changed meanwhile")
	// ErrEnded says that the session was ended before it could be created.
	ErrEnded = errors.New("authn: the session was ended meanwhile")
)

// Cause is why a session was ended before it expired. A store keeps it as it is given.
type Cause byte

// The causes. Their numbers are stored.
const (
	CauseUnknown   Cause = iota // nobody ended the session, or the cause is forgotten
	CauseSignedOut              // the person signed out
	CauseReplaced               // the person signed in again in the same browser
	CauseElsewhere              // the person ended it from another session
	CauseProvider               // the provider ended it
	CauseRefresh                // the provider issues no new tokens for it
	CauseTooMany                // the person has begun more sessions than allowed
	CauseOperator               // an operator ended it
	CauseProduct                // the product ended it; see Sessions.EndPerson
)

// String returns the cause's word in logs and metrics.
func (c Cause) String() string {
	switch c {
	case CauseSignedOut:
		return "signed_out"
	case CauseReplaced:
		return "replaced"
	case CauseElsewhere:
		return "elsewhere"
	case CauseProvider:
		return "provider"
	case CauseRefresh:
		return "refresh_refused"
	case CauseTooMany:
		return "too_many"
	case CauseOperator:
		return "operator"
	case CauseProduct:
		return "product"
	default:
		return "unknown"
	}
}

// EndedError is the ErrNotFound of a session that was ended, as long as the store remembers it.
type EndedError struct{ Cause Cause }

func (e *EndedError) Error() string { return "authn: the session was ended" }

// Is makes it an ErrNotFound.
func (e *EndedError) Is(target error) bool { return target == ErrNotFound }

// Store keeps session records. It is the one interface of this package; the
// in-memory store here and those of boltstore and redisstore implement it, and storetest
// is the suite that each of them passes.
//
// The contract:
//
//   - Every method is safe for concurrent use and bounded in time by its context. Every method is
//     atomic, except for Revoke, Sweep and All, which may take one record after the other. When a
//     write returns nil it is durable in the sense of that store: later calls see it, from every
//     process that shares the store. A store may cache what it has loaded, as long as it is notified
//     of changes. Then another process's Load sees a change a moment later, and a Load in this
//     process sees it at once, even after an ErrConflict.
//   - A store has no clock. The caller passes the time, and decides whether a loaded record has
//     expired. A server that drops expired records by its own clock goes by the times given.
//   - Ended stays ended: after End or Revoke has returned, no Save, Touch or Create brings the
//     session back, in whatever order they arrive.
type Store interface {
	// Create stores a new record at version 1, whatever r.Version says. It returns ErrEnded if
	// r.Key was ended, or if r.Owner or r.ProviderSession was revoked at or after r.SignedIn,
	// and ErrConflict if r.Key exists.
	Create(ctx context.Context, r Record) error

	// Load returns the record with its sealed part, or ErrNotFound: an *EndedError if it was
	// ended. It may return an expired record. Every request waits for it, so a store that can
	// hang gives up after a second.
	Load(ctx context.Context, key Key) (Record, error)

	// Save replaces the sealed part of the record, its Owner, its ProviderSession and Bound if its
	// version is still r.Version, and makes it version r.Version+1. It returns ErrConflict if another Save
	// came first, and ErrNotFound if the session has ended. All other fields stay as they are in
	// the store: a Touch in between is not undone.
	//
	// A Save that moves the record to another Owner or ProviderSession may conflict with a Touch,
	// too. A Revoke of the old index that is followed by one of the new finds the record, whenever
	// it moves.
	Save(ctx context.Context, r Record) error

	// Touch sets LastSeen and Expires and leaves the version alone, so that it does not conflict
	// with a Save. It returns ErrNotFound if the session has ended.
	Touch(ctx context.Context, key Key, lastSeen, expires time.Time) error

	// End drops the record and remembers its key and the cause until the time given, so that
	// it cannot come back. It is no error if there is no such record. The first of several
	// causes counts.
	End(ctx context.Context, key Key, cause Cause, until time.Time) error

	// Revoke ends, with CauseProvider, every record that has index as its Owner or its
	// ProviderSession and that was signed in at or before notAfter, counted in whole seconds.
	// Until the time given, a Create of such a record returns ErrEnded; a later sign-in is not
	// touched. It returns the keys of the records that it ended. It may end them one by one:
	// if it fails half-way, a second call ends the rest.
	Revoke(ctx context.Context, index Key, notAfter, until time.Time) ([]Key, error)

	// List returns the records that have index as their Owner or their ProviderSession, without
	// their sealed parts, the latest sign-in first.
	List(ctx context.Context, index Key) ([]Record, error)

	// All returns every record, without its sealed part, in any order. It reads the store in steps,
	// each of which the context bounds like a single call, so the caller may call other methods
	// meanwhile. A record that exists throughout is returned once; one that is created or ended
	// meanwhile may or may not be returned. If All fails, it returns the error last.
	All(ctx context.Context) iter.Seq2[Record, error]

	// Count returns how many records List would return. It may count some that have ended.
	Count(ctx context.Context, index Key) (int, error)

	// Once returns true to the first caller that names the key and false to every other, until
	// the time given at least.
	Once(ctx context.Context, key Key, until time.Time) (bool, error)

	// Sweep drops everything that has expired by now, and returns how many records it dropped:
	// none if a server has dropped them by itself.
	Sweep(ctx context.Context, now time.Time) (int, error)

	// Ping reports whether the store can be reached and written to.
	Ping(ctx context.Context) error

	// Close releases the store. No other method may be called after it.
	Close() error
}

// Indexes returns the keys by which Revoke and List find the record: its owner and, if there is
// one, the provider's session.
func (r Record) Indexes() []Key {
	if r.ProviderSession == (Key{}) {
		return []Key{r.Owner}
	}
	return []Key{r.Owner, r.ProviderSession}
}

// SignedInAfter reports whether a sign-in came after a revocation. Both times come from the
// provider, which counts in whole seconds. A sign-in in the same second counts as before the
// revocation, which signs out.
func SignedInAfter(signedIn, notAfter time.Time) bool {
	return signedIn.Unix() > notAfter.Unix()
}

// sealedAs reports whether the sealed part of r is bound to the same values as that of another record
// with the same key; see sealContext.
func (r Record) sealedAs(other Record) bool {
	return r.Version == other.Version && r.Owner == other.Owner && r.ProviderSession == other.ProviderSession && r.SignedIn.Equal(other.SignedIn)
}
