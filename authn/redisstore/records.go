package redisstore

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"latchkey/authn"
)

// Create implements authn.Store.
func (s *Store) Create(ctx context.Context, r authn.Record) error {
	revoked, err := s.enter(ctx, r)
	if err != nil {
		return err
	}
	if revoked {
		return authn.ErrEnded
	}
	defer s.cache.Drop(r.Key)
	answer, err := s.run(ctx, "creating a session", s.scripts.create, []string{s.sessionName(r.Key)},
		[]string{encodeOrigin(r), encodeSeen(r.LastSeen, r.Expires), string(r.Sealed), milliseconds(r.Expires)})
	switch {
	case err != nil:
		return err
	case answer == "ended":
		s.leave(ctx, r)
		return authn.ErrEnded
	case answer == "exists": // its index entries may be the same, so keep them
		return authn.ErrConflict
	}
	return nil
}

// Load implements authn.Store.
func (s *Store) Load(ctx context.Context, key authn.Key) (authn.Record, error) {
	if err := ctx.Err(); err != nil {
		return authn.Record{}, err
	}
	return s.cache.Load(key, func() (authn.Record, error) {
		ctx, cancel := context.WithTimeout(ctx, s.limits.load)
		defer cancel()
		return ask(ctx, s, "loading a session", func(ctx context.Context, c rueidis.Client) (authn.Record, error) {
			return s.fetch(ctx, c, key)
		})
	})
}

// fetch reads a record, and asks the server to report changes to it. The server remembers each key
// that it is to report, even one that does not exist, and anyone can make up a key: so fetch first
// reads whether there is a record.
func (s *Store) fetch(ctx context.Context, c rueidis.Client, key authn.Key) (authn.Record, error) {
	there, err := c.Do(ctx, c.B().Hmget().Key(s.sessionName(key)).Field("version", "cause").Build()).AsStrSlice()
	if err != nil {
		return authn.Record{}, err
	}
	if there[0] == "" {
		return authn.Record{}, notFound(there[1])
	}
	command := c.B().Hgetall().Key(s.sessionName(key)).Cache().ToStaticTTL()
	fields, err := c.DoCache(ctx, command, cacheFor).AsStrMap()
	if err != nil {
		return authn.Record{}, err
	}
	r, ok := decodeRecord(key, fields["origin"], fields["seen"], fields["version"], fields["bound"])
	if !ok {
		return authn.Record{}, notFound(fields["cause"])
	}
	r.Sealed = []byte(fields["sealed"])
	return r, nil
}

// Save implements authn.Store. It enters the session into new indexes first. The entries in the old
// ones stay until they expire: they do no harm.
func (s *Store) Save(ctx context.Context, r authn.Record) error {
	defer s.cache.Drop(r.Key)
	stored, err := s.Load(ctx, r.Key)
	if err != nil {
		return err
	}
	if stored.Version != r.Version {
		return authn.ErrConflict
	}
	args := []string{strconv.FormatUint(r.Version, 10), strconv.FormatUint(r.Version+1, 10), string(r.Sealed), encodeBound(r.Bound)}
	if !slices.Equal(stored.Indexes(), r.Indexes()) {
		stored.Owner, stored.ProviderSession = r.Owner, r.ProviderSession
		revoked, err := s.enter(ctx, stored)
		if err != nil {
			return err
		}
		if revoked { // the session is about to end
			return authn.ErrNotFound
		}
		args = append(args, encodeOrigin(stored), encodeSeen(stored.LastSeen, stored.Expires))
	}
	answer, err := s.run(ctx, "saving a session", s.scripts.save, []string{s.sessionName(r.Key)}, args)
	switch {
	case err != nil:
		return err
	case answer == "gone":
		return authn.ErrNotFound
	case answer == "changed":
		return authn.ErrConflict
	}
	return nil
}

// Touch implements authn.Store. It moves the session's index entries first, so that a
// revocation finds the session for as long as its record exists. It starts over if a Save has moved
// the session to other indexes meanwhile.
func (s *Store) Touch(ctx context.Context, key authn.Key, lastSeen, expires time.Time) error {
	for {
		r, err := s.Load(ctx, key)
		if err != nil {
			return err
		}
		r.Expires = expires
		revoked, err := s.enter(ctx, r)
		if err != nil {
			return err
		}
		if revoked { // the session is about to end
			return authn.ErrNotFound
		}
		answer, err := s.run(ctx, "touching a session", s.scripts.touch, []string{s.sessionName(key)},
			[]string{encodeSeen(lastSeen, expires), milliseconds(expires), encodeOrigin(r)})
		s.cache.Drop(key)
		switch {
		case err != nil:
			return err
		case answer == "gone":
			return authn.ErrNotFound
		case answer == "touched":
			return nil
		}
	}
}

// enter adds a session to its indexes, or extends its entries, until the session expires.
// It reports whether the session is revoked in one of them.
func (s *Store) enter(ctx context.Context, r authn.Record) (bool, error) {
	var calls []rueidis.LuaExec
	for _, index := range r.Indexes() {
		calls = append(calls, rueidis.LuaExec{Keys: s.indexNames(index), Args: []string{
			entry{r.Key, r.SignedIn}.encode(), milliseconds(r.Expires), strconv.FormatInt(r.SignedIn.Unix(), 10),
		}})
	}
	return ask(ctx, s, "indexing a session", func(ctx context.Context, c rueidis.Client) (bool, error) {
		revoked := false
		for _, result := range s.scripts.index.ExecMulti(ctx, c, calls...) {
			entered, err := result.AsInt64()
			if err != nil {
				return false, err
			}
			revoked = revoked || entered == 0
		}
		return revoked, nil
	})
}

// leave removes ended sessions from their indexes. It ignores errors: the entries lead
// nowhere, and expire.
func (s *Store) leave(ctx context.Context, ended ...authn.Record) {
	_, _ = ask(ctx, s, "cleaning an index", func(ctx context.Context, c rueidis.Client) (struct{}, error) {
		var commands rueidis.Commands
		for _, r := range ended {
			for _, index := range r.Indexes() {
				commands = append(commands, c.B().Zrem().Key(s.indexNames(index)[0]).Member(entry{r.Key, r.SignedIn}.encode()).Build())
			}
		}
		c.DoMulti(ctx, commands...)
		return struct{}{}, nil
	})
}

// List implements authn.Store.
func (s *Store) List(ctx context.Context, index authn.Key) ([]authn.Record, error) {
	list, err := ask(ctx, s, "listing sessions", func(ctx context.Context, c rueidis.Client) ([]authn.Record, error) {
		members, err := c.Do(ctx, c.B().Zrange().Key(s.indexNames(index)[0]).Min("0").Max("-1").Build()).AsStrSlice()
		if err != nil {
			return nil, err
		}
		return s.heads(ctx, c, entries(members))
	})
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(r authn.Record) bool { return !slices.Contains(r.Indexes(), index) })
	// A provider counts in whole seconds, so break ties by key to keep the order stable.
	slices.SortFunc(list, func(a, b authn.Record) int {
		return cmp.Or(b.SignedIn.Compare(a.SignedIn), bytes.Compare(a.Key[:], b.Key[:]))
	})
	return slices.CompactFunc(list, func(a, b authn.Record) bool { return a.Key == b.Key }), nil
}

// All implements authn.Store. It scans the keys of each server in turn. A scan may return a key
// several times, and the replicas of a cluster have the keys of their primaries.
func (s *Store) All(ctx context.Context) iter.Seq2[authn.Record, error] {
	return func(yield func(authn.Record, error) bool) {
		nodes, err := ask(ctx, s, "listing sessions", func(_ context.Context, c rueidis.Client) ([]rueidis.Client, error) {
			return slices.Collect(maps.Values(c.Nodes())), nil
		})
		seen := make(map[authn.Key]bool)
		for _, node := range nodes {
			for cursor, begun := uint64(0), false; err == nil && (cursor != 0 || !begun); begun = true {
				var found []authn.Record
				if found, cursor, err = s.scan(ctx, node, cursor); err != nil {
					break
				}
				for _, r := range found {
					if !seen[r.Key] && !yield(r, nil) {
						return
					}
					seen[r.Key] = true
				}
			}
		}
		if err != nil {
			yield(authn.Record{}, err)
		}
	}
}

// scanStep is about how many keys one step of All looks at.
const scanStep = 1000

// scan returns the records of one step of All, and the cursor of the next, which is 0 after the last
// step.
func (s *Store) scan(ctx context.Context, node rueidis.Client, cursor uint64) (found []authn.Record, next uint64, err error) {
	pattern := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s.prefix) + "session:*"
	type step struct {
		found []authn.Record
		next  uint64
	}
	done, err := ask(ctx, s, "listing sessions", func(ctx context.Context, c rueidis.Client) (step, error) {
		page, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match(pattern).Count(scanStep).Build()).AsScanEntry()
		if err != nil {
			return step{}, err
		}
		var list []entry
		for _, name := range page.Elements {
			if key, ok := s.sessionKey(name); ok {
				list = append(list, entry{key: key})
			}
		}
		found, err := s.heads(ctx, c, list)
		return step{found, page.Cursor}, err
	})
	return done.found, done.next, err
}

// Count implements authn.Store.
func (s *Store) Count(ctx context.Context, index authn.Key) (int, error) {
	return ask(ctx, s, "counting sessions", func(ctx context.Context, c rueidis.Client) (int, error) {
		n, err := c.Do(ctx, c.B().Zcard().Key(s.indexNames(index)[0]).Build()).AsInt64()
		return int(n), err
	})
}

// heads reads the records of entries, without their sealed parts.
func (s *Store) heads(ctx context.Context, c rueidis.Client, found []entry) ([]authn.Record, error) {
	var commands rueidis.Commands
	for _, e := range found {
		commands = append(commands, c.B().Hmget().Key(s.sessionName(e.key)).Field("origin", "seen", "version", "bound").Build())
	}
	var list []authn.Record
	for i, result := range c.DoMulti(ctx, commands...) {
		fields, err := result.AsStrSlice()
		if err != nil {
			return nil, err
		}
		if r, ok := decodeRecord(found[i].key, fields[0], fields[1], fields[2], fields[3]); ok {
			list = append(list, r)
		}
	}
	return list, nil
}

func entries(members []string) []entry {
	var list []entry
	for _, member := range members {
		if e, ok := decodeEntry(member); ok {
			list = append(list, e)
		}
	}
	return list
}
