package authn

import (
	"encoding/binary"
	"errors"
	"time"
)

// errEncoding says that bytes are not what an encoder wrote.
var errEncoding = errors.New("authn: malformed record")

// encoder writes fields one after another, each byte string after its length. The order of the calls is the
// format; what is stored keeps the version of the format beside the fields. This costs a tenth of what JSON
// does, which counts because a session is decoded after each change.
type encoder struct{ buf []byte }

func (e *encoder) byte(b byte) { e.buf = append(e.buf, b) }

func (e *encoder) bytes(b []byte) {
	e.buf = binary.AppendUvarint(e.buf, uint64(len(b)))
	e.buf = append(e.buf, b...)
}

func (e *encoder) string(s string) {
	e.buf = binary.AppendUvarint(e.buf, uint64(len(s)))
	e.buf = append(e.buf, s...)
}

func (e *encoder) bool(b bool) {
	if b {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

func (e *encoder) int(n int64) { e.buf = binary.AppendVarint(e.buf, n) }

// time keeps the instant to the microsecond; the zero time stays the zero time.
func (e *encoder) time(t time.Time) {
	if t.IsZero() {
		e.int(0)
		return
	}
	e.int(t.UnixMicro())
}

// decoder reads what encoder wrote. After the first error every read returns a zero value, and
// err reports the error at the end.
type decoder struct {
	buf []byte
	bad bool
}

func (d *decoder) byte() byte {
	if len(d.buf) == 0 {
		d.bad = true
		return 0
	}
	b := d.buf[0]
	d.buf = d.buf[1:]
	return b
}

// bytes returns a slice of the decoder's own buffer. It returns nil for an empty field, so that a
// field that was nil is nil again.
func (d *decoder) bytes() []byte {
	n, size := binary.Uvarint(d.buf)
	if size <= 0 || n > uint64(len(d.buf)-size) {
		d.bad, d.buf = true, nil
		return nil
	}
	b := d.buf[size : size+int(n) : size+int(n)]
	d.buf = d.buf[size+int(n):]
	if n == 0 {
		return nil
	}
	return b
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) bool() bool { return d.byte() == 1 }

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.buf)
	if size <= 0 {
		d.bad, d.buf = true, nil
		return 0
	}
	d.buf = d.buf[size:]
	return n
}

func (d *decoder) time() time.Time {
	micros := d.int()
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// err reports whether everything could be read and nothing was left over.
func (d *decoder) err() error {
	if d.bad || len(d.buf) > 0 {
		return errEncoding
	}
	return nil
}
