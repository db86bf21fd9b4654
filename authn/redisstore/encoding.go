package redisstore

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"latchkey/authn"
)

// The fields of a record. A program that writes a field in another format gives it another
// name. A record that lacks one of these fields is ignored.
//
//	origin    owner, provider session, time of sign-in, device
//	seen      last seen and expires
//	version   decimal
//	sealed    as it is
//	bound     1 if the session is bound to a device; else 0 or missing
//
// Times are in microseconds since 1970. In binary they take 8 bytes, big endian.
// scripts/end.lua knows the layout of origin. A tombstone has the fields ended, in
// milliseconds, and cause.

const originHead = 32 + 32 + 8

func encodeOrigin(r authn.Record) string {
	b := make([]byte, 0, originHead+len(r.Device))
	b = append(b, r.Owner[:]...)
	b = append(b, r.ProviderSession[:]...)
	b = append(b, encodeTime(r.SignedIn)...)
	return string(append(b, r.Device...))
}

// decodeOrigin sets the fields of a record that origin holds.
func decodeOrigin(r *authn.Record, origin string) bool {
	if len(origin) < originHead {
		return false
	}
	copy(r.Owner[:], origin)
	copy(r.ProviderSession[:], origin[32:])
	r.SignedIn = decodeTime(origin[64:72])
	r.Device = origin[originHead:]
	return true
}

func encodeSeen(lastSeen, expires time.Time) string {
	return strconv.FormatInt(lastSeen.UnixMicro(), 10) + " " + strconv.FormatInt(expires.UnixMicro(), 10)
}

// decodeRecord decodes a record, and reports whether the fields are valid. A tombstone is
// not, because it has no version.
func decodeRecord(key authn.Key, origin, seen, version, bound string) (authn.Record, bool) {
	r := authn.Record{Key: key}
	first, second, _ := strings.Cut(seen, " ")
	lastSeen, err1 := strconv.ParseInt(first, 10, 64)
	expires, err2 := strconv.ParseInt(second, 10, 64)
	number, err3 := strconv.ParseUint(version, 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || !decodeOrigin(&r, origin) {
		return authn.Record{}, false
	}
	r.Bound = bound == encodeBound(true)
	r.LastSeen, r.Expires, r.Version = time.UnixMicro(lastSeen).UTC(), time.UnixMicro(expires).UTC(), number
	return r, true
}

func encodeBound(bound bool) string {
	if bound {
		return "1"
	}
	return "0"
}

// entry is one session in an index: its key and its time of sign-in.
type entry struct {
	key      authn.Key
	signedIn time.Time
}

func (e entry) encode() string { return string(e.key[:]) + encodeTime(e.signedIn) }

func decodeEntry(s string) (e entry, ok bool) {
	if len(s) != len(e.key)+8 {
		return e, false
	}
	copy(e.key[:], s)
	e.signedIn = decodeTime(s[len(e.key):])
	return e, true
}

func encodeTime(t time.Time) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(t.UnixMicro())))
}

func decodeTime(s string) time.Time {
	return time.UnixMicro(int64(binary.BigEndian.Uint64([]byte(s)))).UTC()
}

func encodeCause(c authn.Cause) string { return strconv.Itoa(int(c)) }

// notFound returns the error for a key without a record: an *authn.EndedError if a tombstone
// there has a cause.
func notFound(cause string) error {
	number, err := strconv.ParseUint(cause, 10, 8)
	if err != nil {
		return authn.ErrNotFound
	}
	return &authn.EndedError{Cause: authn.Cause(number)}
}

// milliseconds is serverTime as text.
func milliseconds(t time.Time) string { return strconv.FormatInt(serverTime(t), 10) }

// serverTime returns a time as milliseconds since 1970, rounded up, so that the server does
// not drop a key too early. It is at least 1, because the server requires a positive
// number.
func serverTime(t time.Time) int64 { return max(t.UnixMilli()+1, 1) }
