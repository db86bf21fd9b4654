package authn

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"latchkey/authn/openid"
)

const (
	namePurpose         = "name"
	ownerKind           = "owner"
	providerSessionKind = "provider session"
	personKind          = "person"
)

// names are the keys under which the store may hold the sessions of one person, or of one provider
// session, the current one last. They are keyed by the application's secret: subjects and addresses are
// not secret, so anyone could look for a person among plain hashes.
//
// While a secret is being replaced there is a name for each secret. The first name is the plain hash
// that earlier versions wrote. A session moves to its current name when it is next saved; Touch saves a
// session that has another name. Sessions move only to later names, so a caller that goes through the
// names in order misses none.
type names []Key

func (n names) current() Key { return n[len(n)-1] }

// names returns the names of the person or provider session that kind and parts identify.
func (k *Keys) names(kind string, parts ...string) names {
	plain := NewKey(kind, parts...)
	list := names{plain}
	for _, key := range slices.Backward(k.naming) {
		mac := hmac.New(sha256.New, key)
		mac.Write(plain[:])
		list = append(list, Key(mac.Sum(nil)))
	}
	return list
}

// personID names a person in logs.
func (k *Keys) personID(issuer, subject string) string {
	return personID(k.owner(issuer, subject).current())
}

// personID names the owner of a record in logs. It is not a part of their name in the store.
func personID(owner Key) string {
	id := NewKey(personKind, string(owner[:]))
	return hex.EncodeToString(id[:8])
}

func (k *Keys) owner(issuer, subject string) names { return k.names(ownerKind, issuer, subject) }

func (k *Keys) providerSession(issuer, sid string) names {
	return k.names(providerSessionKind, issuer, sid)
}

// indexes returns the current names of a person and of the provider's session, which is zero if the
// provider does not name its sessions.
func (k *Keys) indexes(i *openid.Identity) (owner, providerSession Key) {
	if i.SID != "" {
		providerSession = k.providerSession(i.Issuer, i.SID).current()
	}
	return k.owner(i.Issuer, i.Subject).current(), providerSession
}

// list returns the records under all of the names.
func (s *Sessions) list(ctx context.Context, n names) ([]Record, error) {
	var list []Record
	for _, name := range n {
		records, err := s.store.List(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			// The later one is newer: the session has moved meanwhile.
			list = append(slices.DeleteFunc(list, func(known Record) bool { return known.Key == r.Key }), r)
		}
	}
	return list, nil
}

// count returns how many records list would return. It may count some that have ended or moved.
func (s *Sessions) count(ctx context.Context, n names) (int, error) {
	sum := 0
	for _, name := range n {
		count, err := s.store.Count(ctx, name)
		if err != nil {
			return 0, err
		}
		sum += count
	}
	return sum, nil
}

// revoke revokes all of the names; see Store.Revoke. It revokes the plain name only if a record has it:
// new sign-ins never get a plain name, and a revocation would leave the plain hash in the store.
func (s *Sessions) revoke(ctx context.Context, n names, notAfter, until time.Time) ([]Key, error) {
	var ended []Key
	for i, name := range n {
		if i == 0 {
			count, err := s.store.Count(ctx, name)
			if err != nil {
				return nil, err
			}
			if count == 0 {
				continue
			}
		}
		keys, err := s.store.Revoke(ctx, name, notAfter, until)
		ended = append(ended, keys...)
		if err != nil {
			return ended, err
		}
	}
	return ended, nil
}
