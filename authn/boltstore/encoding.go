package boltstore

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"latchkey/authn"
)

// formatVersion is the first byte of every value. A program that finds another version
// ignores the value, as if it did not exist, and leaves it unchanged.
const formatVersion = 1

// A value is the format version, its fields, and a CRC-32C of both. Times are in
// microseconds since 1970. Byte strings are preceded by their length.

// tombstone records that a session was ended, an index was revoked, or a key was used
// (Once).
type tombstone struct {
	until time.Time
	// notAfter is the last sign-in that a revocation ends. It is zero otherwise.
	notAfter time.Time
	// cause is why a session ended. Values from before it was stored have none.
	cause authn.Cause
}

func encodeRecord(r authn.Record) []byte {
	e := encoder{buf: make([]byte, 0, 128+len(r.Device)+len(r.Sealed))}
	e.buf = append(e.buf, formatVersion)
	e.buf = append(e.buf, r.Owner[:]...)
	e.buf = append(e.buf, r.ProviderSession[:]...)
	e.time(r.SignedIn)
	e.time(r.LastSeen)
	e.time(r.Expires)
	e.buf = binary.AppendUvarint(e.buf, r.Version)
	e.bytes([]byte(r.Device))
	e.bytes(r.Sealed)
	if r.Bound { // other records end here, as all did once
		e.buf = append(e.buf, 1)
	}
	return e.sum()
}

// decodeRecord reports whether the value is valid. The record's Sealed is a part of the
// value.
func decodeRecord(key authn.Key, value []byte) (authn.Record, bool) {
	d, ok := newDecoder(value)
	if !ok {
		return authn.Record{}, false
	}
	r := authn.Record{
		Key:             key,
		Owner:           d.key(),
		ProviderSession: d.key(),
		SignedIn:        d.time(),
		LastSeen:        d.time(),
		Expires:         d.time(),
		Version:         d.uvarint(),
		Device:          string(d.bytes()),
		Sealed:          d.bytes(),
	}
	if len(d.buf) > 0 && d.buf[0] == 1 {
		r.Bound, d.buf = true, d.buf[1:]
	}
	return r, d.finished()
}

func encodeTombstone(r tombstone) []byte {
	e := encoder{buf: make([]byte, 0, 24)}
	e.buf = append(e.buf, formatVersion)
	e.time(r.until)
	e.time(r.notAfter)
	e.buf = append(e.buf, byte(r.cause))
	return e.sum()
}

func decodeTombstone(value []byte) (tombstone, bool) {
	d, ok := newDecoder(value)
	if !ok {
		return tombstone{}, false
	}
	r := tombstone{until: d.time(), notAfter: d.time()}
	if len(d.buf) > 0 {
		r.cause = authn.Cause(d.take(1)[0])
	}
	return r, d.finished()
}

type encoder struct{ buf []byte }

func (e *encoder) bytes(b []byte) {
	e.buf = binary.AppendUvarint(e.buf, uint64(len(b)))
	e.buf = append(e.buf, b...)
}

func (e *encoder) time(t time.Time) {
	e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(t.UnixMicro()))
}

func (e *encoder) sum() []byte {
	return binary.BigEndian.AppendUint32(e.buf, checksum(e.buf))
}

func checksum(b []byte) uint32 {
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
}

// decoder reads what encoder wrote. After the first error, every read returns nothing, and
// finished returns false.
type decoder struct {
	buf []byte
	bad bool
}

// newDecoder reports whether the value is complete and has the supported version.
func newDecoder(value []byte) (decoder, bool) {
	n := len(value) - crc32.Size
	if n < 1 || value[0] != formatVersion || binary.BigEndian.Uint32(value[n:]) != checksum(value[:n]) {
		return decoder{}, false
	}
	return decoder{buf: value[1:n]}, true
}

// take returns the next n bytes, as a part of the value.
func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.buf)) {
		d.bad, d.buf = true, nil
		return nil
	}
	b := d.buf[:n:n]
	d.buf = d.buf[n:]
	return b
}

func (d *decoder) bytes() []byte { return d.take(d.uvarint()) }

func (d *decoder) key() (key authn.Key) {
	copy(key[:], d.take(uint64(len(key))))
	return key
}

func (d *decoder) time() time.Time {
	b := d.take(8)
	if b == nil {
		return time.Time{}
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(b))).UTC()
}

func (d *decoder) uvarint() uint64 {
	v, size := binary.Uvarint(d.buf)
	if size <= 0 {
		d.bad, d.buf = true, nil
		return 0
	}
	d.buf = d.buf[size:]
	return v
}

// finished reports whether all fields were valid and nothing is left over.
func (d *decoder) finished() bool { return !d.bad && len(d.buf) == 0 }
