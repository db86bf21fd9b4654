package devop

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	maxEntries = 10_000 // per table; the first to expire are dropped first
	maxAdded   = 500    // people; the oldest are dropped first
	saveDelay  = 50 * time.Millisecond
	stateFile  = "devop.json"
)

// state is what survives a restart. Its secrets are hashed, except for the signing keys.
type state struct {
	Keys     []signingKey // the current one, then the previous one
	Added    []Person     // by SetPerson, oldest first
	Sessions map[string]*session
	Grants   map[string]*grant
	Access   map[string]*accessToken
	Requests map[string]*request
}

// records holds the state and saves it shortly after a change, so that a burst of changes
// costs one write.
type records struct {
	mu sync.Mutex
	state
	people []Person // configured
	now    func() time.Time
	log    *slog.Logger
	file   string // "" keeps everything in memory
	timer  *time.Timer

	writing sync.Mutex // held from taking a snapshot until the file is in place
	closed  bool       // guarded by writing
}

// openRecords loads the state of an earlier provider, if there is any.
func openRecords(cfg Config) (*records, error) {
	s := &records{people: slices.Clone(cfg.People), now: cfg.Now, log: cfg.Log}
	if cfg.DataDir != "" {
		if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
			return nil, fmt.Errorf("devop: %w", err)
		}
		s.file = filepath.Join(cfg.DataDir, stateFile)
		if err := s.load(); err != nil {
			return nil, err
		}
	}
	s.Sessions, s.Grants = orNew(s.Sessions), orNew(s.Grants)
	s.Access, s.Requests = orNew(s.Access), orNew(s.Requests)
	if len(s.Keys) == 0 {
		key, err := newSigningKey()
		if err != nil {
			return nil, err
		}
		s.addKey(key)
	}
	return s, s.save()
}

func (s *records) load() error {
	data, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("devop: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // preserves large numbers in claims
	if err := decoder.Decode(&s.state); err != nil {
		return fmt.Errorf("devop: %s cannot be read; delete it to start over: %w", s.file, err)
	}
	return nil
}

// orNew returns table, or an empty one for nil.
func orNew[T any](table map[string]T) map[string]T {
	if table == nil {
		return make(map[string]T)
	}
	return table
}

// changed schedules a save. The caller has added any new entry and holds mu.
func (s *records) changed() {
	if max(len(s.Sessions), len(s.Grants), len(s.Access), len(s.Requests)) > maxEntries {
		s.sweep()
	}
	if s.file != "" && s.timer == nil {
		s.timer = time.AfterFunc(saveDelay, func() {
			if err := s.save(); err != nil {
				s.log.Error("development provider: state not saved", "error", err)
			}
		})
	}
}

// sweep drops expired entries, and more if a table is too large. The caller holds mu.
func (s *records) sweep() {
	now := s.now()
	bound(s.Sessions, now)
	bound(s.Grants, now)
	bound(s.Requests, now)
	maps.DeleteFunc(s.Access, func(_ string, t *accessToken) bool { return s.Grants[t.Grant] == nil })
	bound(s.Access, now)
}

func (e *session) expiry() time.Time     { return e.Expires }
func (e *grant) expiry() time.Time       { return e.Expires }
func (e *accessToken) expiry() time.Time { return e.Expires }
func (e *request) expiry() time.Time     { return e.Expires }

// bound drops the expired entries of a table. If more than maxEntries remain, it drops a
// tenth more than necessary, so that it need not run again soon.
func bound[T interface{ expiry() time.Time }](table map[string]T, now time.Time) {
	maps.DeleteFunc(table, func(_ string, e T) bool { return !now.Before(e.expiry()) })
	if len(table) <= maxEntries {
		return
	}
	keys := slices.SortedFunc(maps.Keys(table), func(a, b string) int {
		return table[a].expiry().Compare(table[b].expiry())
	})
	for _, key := range keys[:len(keys)-maxEntries*9/10] {
		delete(table, key)
	}
}

// save writes the state to a new file and renames it over the old one.
func (s *records) save() error {
	if s.file == "" {
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed {
		return nil
	}
	return s.write()
}

// write is save for a caller that holds writing.
func (s *records) write() error {
	s.mu.Lock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.sweep()
	data, err := json.Marshal(&s.state)
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("devop: %w", err)
	}
	if err := writeFile(s.file, data); err != nil {
		return fmt.Errorf("devop: %w", err)
	}
	return nil
}

// close saves the state for the last time. It waits for a save in progress.
func (s *records) close() error {
	if s.file == "" {
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	s.closed = true
	return s.write()
}

// writeFile replaces the file in one step. Only its owner can read it.
func writeFile(name string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(name), ".devop-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}

// keys returns the signing keys, the current one first.
func (s *records) keys() []signingKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.Keys)
}

// addKey makes key the current signing key and keeps the previous one.
func (s *records) addKey(key signingKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Keys = append([]signingKey{key}, s.Keys[:min(1, len(s.Keys))]...)
	s.changed()
}

// hash returns the stored form of a secret. Secrets are random, so a plain hash hides them.
func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
