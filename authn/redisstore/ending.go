package redisstore

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"latchkey/authn"
)

// End implements authn.Store.
func (s *Store) End(ctx context.Context, key authn.Key, cause authn.Cause, until time.Time) error {
	_, err := s.end(ctx, "ending a session", []authn.Key{key}, []rueidis.LuaExec{
		{Keys: []string{s.sessionName(key)}, Args: []string{milliseconds(until), encodeCause(cause)}},
	})
	return err
}

// Revoke implements authn.Store. If it fails after it has stored the revocation, no revoked
// sign-in can create a session, and calling it again ends the remaining sessions.
func (s *Store) Revoke(ctx context.Context, index authn.Key, notAfter, until time.Time) ([]authn.Key, error) {
	found, err := ask(ctx, s, "revoking sessions", func(ctx context.Context, c rueidis.Client) ([]entry, error) {
		members, err := s.scripts.revoke.Exec(ctx, c, s.indexNames(index),
			[]string{strconv.FormatInt(notAfter.Unix(), 10), milliseconds(until)}).AsStrSlice()
		return entries(members), err
	})
	if err != nil {
		return nil, err
	}
	var keys []authn.Key
	var calls []rueidis.LuaExec
	for _, e := range found {
		if !authn.SignedInAfter(e.signedIn, notAfter) {
			keys = append(keys, e.key)
			calls = append(calls, rueidis.LuaExec{Keys: []string{s.sessionName(e.key)}, Args: []string{
				milliseconds(until), encodeCause(authn.CauseProvider), string(index[:]), encodeTime(e.signedIn),
			}})
		}
	}
	return s.end(ctx, "revoking sessions", keys, calls)
}

// end replaces sessions with tombstones, one call for each key, and returns the keys of the
// sessions that existed. It drops the sessions from this node's cache even if it fails.
func (s *Store) end(ctx context.Context, doing string, keys []authn.Key, calls []rueidis.LuaExec) ([]authn.Key, error) {
	if len(calls) == 0 {
		return nil, nil
	}
	defer s.cache.Drop(keys...)
	records, err := ask(ctx, s, doing, func(ctx context.Context, c rueidis.Client) ([]authn.Record, error) {
		var records []authn.Record
		for i, result := range s.scripts.end.ExecMulti(ctx, c, calls...) {
			origin, err := result.ToString()
			if rueidis.IsRedisNil(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			r := authn.Record{Key: keys[i]}
			decodeOrigin(&r, origin)
			records = append(records, r)
		}
		return records, nil
	})
	if err != nil || len(records) == 0 {
		return nil, err
	}
	s.leave(ctx, records...)
	ended := make([]authn.Key, 0, len(records))
	for _, r := range records {
		ended = append(ended, r.Key)
	}
	return ended, nil
}

// Once implements authn.Store.
func (s *Store) Once(ctx context.Context, key authn.Key, until time.Time) (bool, error) {
	return ask(ctx, s, "marking as used", func(ctx context.Context, c rueidis.Client) (bool, error) {
		err := c.Do(ctx, c.B().Set().Key(s.prefix+"once:"+text(key)).Value("").Nx().PxatMillisecondsTimestamp(serverTime(until)).Build()).Error()
		if rueidis.IsRedisNil(err) {
			return false, nil
		}
		return err == nil, err
	})
}

// Sweep implements authn.Store. It sweeps only the cache, because the server drops expired keys.
func (s *Store) Sweep(ctx context.Context, _ time.Time) (int, error) {
	s.cache.Sweep()
	return 0, ctx.Err()
}
