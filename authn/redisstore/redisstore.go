// Package redisstore keeps sessions in Redis 6.2 or later, or in Valkey, for an app on
// several nodes. Each atomic operation uses one key, or two in the same cluster slot:
//
//	session:KEY       hash: a record, or the tombstone of an ended session
//	index:{KEY}       sorted set: the sessions of an owner or a provider session
//	revoked:{KEY}     hash: what of that index is revoked, and until when
//	once:KEY          a mark of Once
//
// A session is entered into its indexes before it is stored. A revocation is stored and
// reads the index in one step, then replaces each session in the index with a tombstone. In
// either order, no session survives the revocation of its sign-in: either the index refuses
// the session, or the revocation finds it and ends it, stored or not. An entry without a
// session does no harm, because every reader checks the record. If a revocation fails
// halfway, repeating it ends the remaining sessions.
//
// Everything expires by the server's clock. The server must not evict keys before they
// expire, so its maxmemory-policy must be noeviction.
//
// Loaded records are cached in this process for at most a minute. The server reports which
// records have changed (client-side caching). A process drops its own changes from its
// cache without waiting for that report. A lost connection, noticed within about two
// seconds, empties the cache.
package redisstore

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"latchkey/authn"
	"latchkey/authn/recordcache"
)

// Store is an authn.Store in Redis or Valkey.
type Store struct {
	prefix  string
	limits  limits
	link    *link
	scripts scripts
	cache   *recordcache.Cache
	now     func() time.Time
}

var _ authn.Store = (*Store)(nil)

// Open returns a store for the server that options describe, and calls that server once. If
// the server does not answer yet, Open succeeds and calls fail until it does. If the server
// refuses the user, the password or TLS, Open fails.
func Open(ctx context.Context, options *Options, log *slog.Logger) (*Store, error) {
	s := &Store{prefix: options.prefix, limits: options.limits, scripts: newScripts(), now: time.Now}
	s.cache = recordcache.New(recordcache.Config{
		Bytes: cmp.Or(options.CacheBytes, defaultCacheBytes), For: cacheFor, Now: func() time.Time { return s.now() },
	})
	s.link = newLink(options, s.trackChanges, log)
	err := s.Ping(ctx)
	if err == nil { // a user may write and yet not run scripts
		err = s.End(ctx, authn.NewKey("ping", ""), authn.CauseUnknown, s.now().Add(time.Second))
	}
	if err != nil && refused(err) {
		return nil, errors.Join(err, s.Close())
	}
	if err != nil {
		log.WarnContext(ctx, "the session store does not answer yet", "error", err)
	}
	return s, nil
}

// Ping implements authn.Store. It writes a key that expires after a second.
func (s *Store) Ping(ctx context.Context) error {
	_, err := ask(ctx, s, "writing", func(ctx context.Context, c rueidis.Client) (struct{}, error) {
		return struct{}{}, c.Do(ctx, c.B().Set().Key(s.prefix+"ping").Value("").PxMilliseconds(1000).Build()).Error()
	})
	return err
}

// Close implements authn.Store. It waits about a second for calls in progress.
func (s *Store) Close() error {
	s.link.close()
	return nil
}

// ask runs fn with the client and waits for it until ctx ends, or for the limit of a call. fn
// runs on its own goroutine, because rueidis ignores the context while it waits for a
// connection or for space in a full pipeline. fn may still run after ask has returned, so
// it shares nothing with the caller but its results.
func ask[T any](ctx context.Context, s *Store, doing string, fn func(context.Context, rueidis.Client) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.limits.call)
	defer cancel()
	answers := make(chan answer, 1)
	go func() {
		client, err := s.link.get(ctx)
		if err != nil {
			answers <- answer{err: err}
			return
		}
		value, err := fn(ctx, client)
		s.link.dropIfReplica(client, err)
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		if errors.Is(a.err, authn.ErrNotFound) { // an answer, not a failure
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

// indexNames returns the keys of an index and of its revocation. The braces put both into
// the same slot of a cluster.
func (s *Store) indexNames(index authn.Key) []string {
	return []string{s.prefix + "index:{" + text(index) + "}", s.prefix + "revoked:{" + text(index) + "}"}
}

func text(key authn.Key) string { return base64.RawURLEncoding.EncodeToString(key[:]) }

var (
	//go:embed scripts/index.lua
	indexScript string
	//go:embed scripts/create.lua
	createScript string
	//go:embed scripts/save.lua
	saveScript string
	//go:embed scripts/touch.lua
	touchScript string
	//go:embed scripts/end.lua
	endScript string
	//go:embed scripts/revoke.lua
	revokeScript string
)

// scripts run on the server, each in one atomic step. They are sent in full with each call,
// because they are short and a restarted server does not have them.
type scripts struct {
	index, create, save, touch, end, revoke *rueidis.Lua
}

func newScripts() scripts {
	return scripts{
		index:  rueidis.NewLuaScriptNoSha(indexScript),
		create: rueidis.NewLuaScriptNoSha(createScript),
		save:   rueidis.NewLuaScriptNoSha(saveScript),
		touch:  rueidis.NewLuaScriptNoSha(touchScript),
		end:    rueidis.NewLuaScriptNoSha(endScript),
		revoke: rueidis.NewLuaScriptNoSha(revokeScript),
	}
}
