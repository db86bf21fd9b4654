package boltstore

import (
	"bytes"
	"context"
	"time"

	"go.etcd.io/bbolt"

	"latchkey/authn"
)

// sweepStep is how many entries one transaction of Sweep examines, so that it does not
// block writers for long.
const sweepStep = 1000

// Sweep implements authn.Store. It works in steps. If a step fails, the earlier steps
// remain done and counted. It leaves entries that it cannot read for a newer program or a
// person to examine. It compacts a file that has become much larger than its content.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	if err := s.used.flush(); err != nil {
		return 0, err
	}
	var live int64
	swept, err := s.sweep(ctx, records, now, &live)
	for _, bucket := range []string{ended, revoked, once} {
		if err != nil {
			break
		}
		_, err = s.sweep(ctx, bucket, now, &live)
	}
	if err == nil {
		err = s.compact(live)
	}
	return swept, err
}

// sweep finds expired entries without blocking writers, and blocks them only to drop
// entries. It adds the size of the remaining entries to live.
func (s *Store) sweep(ctx context.Context, bucket string, now time.Time, live *int64) (int, error) {
	swept := 0
	var from []byte
	for {
		found, next, kept, err := s.expired(ctx, bucket, now, from)
		if err != nil {
			return swept, err
		}
		*live += kept
		if len(found) > 0 {
			n, err := s.dropExpired(ctx, bucket, now, found)
			if err != nil {
				return swept, err
			}
			swept += n
		}
		if next == nil {
			return swept, nil
		}
		from = next
	}
}

// expired returns the expired keys of one step, and where the next step starts, which is
// nil after the last step. kept is the size of the other entries.
func (s *Store) expired(ctx context.Context, bucket string, now time.Time, from []byte) (found []authn.Key, next []byte, kept int64, err error) {
	err = s.read(ctx, func(tx *bbolt.Tx) error {
		kept = 0
		c := tx.Bucket([]byte(bucket)).Cursor()
		seen := 0
		for k, value := c.Seek(from); k != nil; k, value = c.Next() {
			if seen++; seen > sweepStep {
				next = bytes.Clone(k)
				return nil
			}
			key := authn.Key(k)
			if s.hasExpired(bucket, key, value, now) {
				found = append(found, key)
				continue
			}
			kept += int64(len(k) + len(value))
		}
		return nil
	})
	return found, next, kept, err
}

// dropExpired drops entries that are still expired: a record may have been touched in the
// meantime.
func (s *Store) dropExpired(ctx context.Context, bucket string, now time.Time, keys []authn.Key) (int, error) {
	var dropped int
	err := s.write(ctx, func(tx *bbolt.Tx) error {
		dropped = 0
		for _, key := range keys {
			if !s.hasExpired(bucket, key, get(tx, bucket, key), now) {
				continue
			}
			if err := s.forget(tx, bucket, key); err != nil {
				return err
			}
			dropped++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return dropped, nil
}

func (s *Store) forget(tx *bbolt.Tx, bucket string, key authn.Key) error {
	if bucket == records {
		return s.drop(tx, key)
	}
	return tx.Bucket([]byte(bucket)).Delete(key[:])
}

func (s *Store) hasExpired(bucket string, key authn.Key, value []byte, now time.Time) bool {
	var expires time.Time
	var ok bool
	if bucket == records {
		var r authn.Record
		r, ok = decodeRecord(key, value)
		expires = r.Expires
		if at, touched := s.touches.of(key); touched {
			expires = at.expires
		}
	} else {
		var r tombstone
		r, ok = decodeTombstone(value)
		expires = r.until
	}
	return ok && !expires.After(now)
}
