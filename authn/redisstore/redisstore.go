// Package redisstore keeps sessions in Redis 6.2 or later, or in Valkey, for an app on
// many nodes. Nothing here needs more than one key, or two that share a cluster's
// slot, to change at once:
//
//	session:KEY       hash: a record, or the tombstone of an ended session
//	index:{KEY}       sorted set: the sessions of an owner or a provider session
//	revoked:{KEY}     hash: what of that index is revoked, and until when
//	once:KEY          a mark of Once
//
// A session is entered into its indexes first and stored second; a revocation notes
// itself and reads the index in one step, and then puts a tombstone on each session
// that it read. So whichever comes first, a session that was signed in before a
// revocation never outlives it: either its entry is refused, or the revocation knows it
// and ends it, stored or not. An entry that leads nowhere does no harm: whoever follows
// it looks at the record. Where a revocation fails half-way, doing it again
// ends the rest.
//
// Everything expires by the server's clock. The server must not drop anything before,
// so its maxmemory-policy has to be noeviction.
//
// Loaded records are kept in this process, for a minute at most. The server says which
// of them have changed (client-side caching); what this process changes it forgets
// before it hears of it; a lost connection, noticed within about two seconds, empties
// the cache.
package redisstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"latchkey/authn"
)

// patience bounds each call whose own context would wait for longer.
const patience = 2 * time.Second

// Store is an authn.Store in Redis or Valkey.
type Store struct {
	prefix  string
	link    *link
	scripts scripts
	cache   *cache
	now     func() time.Time
}

var _ authn.Store = (*Store)(nil)

// Open returns a store that talks to the server of options, and asks it once. A server
// that is not there yet is no error: calls fail until it is. One that refuses the user,
// the password or TLS is.
func Open(ctx context.Context, options *Options, log *slog.Logger) (*Store, error) {
	s := &Store{prefix: options.prefix, scripts: newScripts(), cache: newCache(), now: time.Now}
	s.link = newLink(options, s.trackChanges, log)
	err := s.Ping(ctx)
	if err != nil && refused(err) {
		return nil, errors.Join(err, s.Close())
	}
	if err != nil {
		log.WarnContext(ctx, "the session store does not answer yet", "error", err)
	}
	return s, nil
}

// Ping implements authn.Store: it writes a key that lasts a second.
func (s *Store) Ping(ctx context.Context) error {
	_, err := ask(ctx, s, "writing", func(ctx context.Context, c rueidis.Client) (struct{}, error) {
		return struct{}{}, c.Do(ctx, c.B().Set().Key(s.prefix+"ping").Value("").PxMilliseconds(1000).Build()).Error()
	})
	return err
}

// Close implements authn.Store. It waits about a second for the calls under way.
func (s *Store) Close() error {
	s.link.close()
	return nil
}

// ask runs fn with the client and waits for it no longer than ctx, or patience, lasts.
// It runs aside, because rueidis heeds no context where it waits for a connection or
// for room in a full pipeline. fn may still run when ask has given up: it shares
// nothing with the caller but what it returns.
func ask[T any](ctx context.Context, s *Store, doing string, fn func(context.Context, rueidis.Client) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answers := make(chan answer, 1)
	go func() {
		client, err := s.link.get(ctx)
		if err != nil {
			answers <- answer{err: err}
			return
		}
		value, err := fn(ctx, client)
		s.link.heed(client, err)
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		if errors.Is(a.err, authn.ErrNotFound) { // an answer
			return none, a.err
		}
		if a.err != nil {
			return none, fmt.Errorf("redisstore: %s: %w", doing, a.err)
		}
		return a.value, nil
	case <-ctx.Done():
		return none, fmt.Errorf("redisstore: %s: %w", doing, ctx.Err())
	}
}

// run runs one script and returns its answer.
func (s *Store) run(ctx context.Context, doing string, script *rueidis.Lua, keys, args []string) (string, error) {
	return ask(ctx, s, doing, func(ctx context.Context, c rueidis.Client) (string, error) {
		return script.Exec(ctx, c, keys, args).ToString()
	})
}

func (s *Store) sessionName(key authn.Key) string {
	return s.prefix + "session:" + text(key)
}

// sessionKey is the inverse of sessionName.
func (s *Store) sessionKey(name string) (key authn.Key, ok bool) {
	encoded, ok := strings.CutPrefix(name, s.prefix+"session:")
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if !ok || err != nil || len(raw) != len(key) {
		return key, false
	}
	return authn.Key(raw), true
}

// indexNames are the keys of an index and of its revocation. The braces put both into
// one slot of a cluster.
func (s *Store) indexNames(index authn.Key) []string {
	return []string{s.prefix + "index:{" + text(index) + "}", s.prefix + "revoked:{" + text(index) + "}"}
}

func text(key authn.Key) string { return base64.RawURLEncoding.EncodeToString(key[:]) }
