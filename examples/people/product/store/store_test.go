package store_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/examples/people/product/pgtest"
	"latchkey/examples/people/product/store"
)

var (
	ada  = store.Identity{Issuer: "https://id.example", Subject: "ada", Name: "Ada", Email: "ada@example.com"}
	noon = time.Unix(1_800_000_000, 0)
)

// databases runs a test with each database.
func databases(t *testing.T, test func(t *testing.T, address string)) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, "sqlite:"+filepath.Join(t.TempDir(), "new", "the people?.db"))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, pgtest.Start(t))
	})
}

func open(t *testing.T, address string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func signIn(t *testing.T, s *store.Store, i store.Identity) string {
	t.Helper()
	id, err := s.SignIn(t.Context(), i, noon)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestPeople signs people in, changes them, links identities to them and deletes them.
func TestPeople(t *testing.T) {
	databases(t, func(t *testing.T, address string) {
		s := open(t, address)
		id := signIn(t, s, ada)
		if u, err := s.User(t.Context(), id); err != nil || u.Name != "Ada" || u.Role != store.Member || !slices.Equal(u.Identities, []store.Identity{ada}) {
			t.Errorf("the new user is %+v, error %v", u, err)
		}
		if err := errors.Join(s.Rename(t.Context(), id, "Countess"), s.SetRole(t.Context(), id, store.Manager)); err != nil {
			t.Error(err)
		}
		married := ada
		married.Name, married.Email = "Ada King", "king@example.com"
		if again := signIn(t, s, married); again != id {
			t.Errorf("the second sign-in is another user's, %s", again)
		}
		if u, err := s.User(t.Context(), id); err != nil || u.Name != "Countess" || u.Role != store.Manager || !slices.Equal(u.Identities, []store.Identity{married}) {
			t.Errorf("after changes the user is %+v, error %v", u, err)
		}
		if err := s.SetRole(t.Context(), id, "owner"); err == nil {
			t.Error("any word is a role")
		}

		other := store.Identity{Issuer: ada.Issuer, Subject: "ADA", Name: "Ada", Email: ada.Email}
		elsewhere := store.Identity{Issuer: "https://other.example", Subject: ada.Subject, Name: "Ada", Email: ada.Email}
		bob := signIn(t, s, other)
		if third := signIn(t, s, elsewhere); bob == id || third == id {
			t.Error("another subject, or one of another issuer, signs in as Ada")
		}
		for what, tt := range map[string]struct {
			id   string
			i    store.Identity
			want error
		}{
			"another's identity":  {id, other, store.ErrTaken},
			"nobody's user":       {"nobody", store.Identity{Issuer: "i", Subject: "s"}, store.ErrNoUser},
			"one's own once more": {id, ada, nil},
			"a new identity":      {id, store.Identity{Issuer: "https://third.example", Subject: "1"}, nil},
		} {
			if err := s.Link(t.Context(), tt.id, tt.i, noon); !errors.Is(err, tt.want) {
				t.Errorf("linking %s: %v, want %v", what, err, tt.want)
			}
		}
		if everyone, err := s.Users(t.Context()); err != nil || len(everyone) != 3 || everyone[2].Name != "Countess" {
			t.Errorf("everyone is %+v, error %v", everyone, err)
		}

		known, err := s.Delete(t.Context(), id)
		if err != nil || len(known) != 2 {
			t.Errorf("deleted were %+v, error %v", known, err)
		}
		if _, err := s.User(t.Context(), id); !errors.Is(err, store.ErrNoUser) {
			t.Errorf("a deleted user: %v", err)
		}
		if err := s.Rename(t.Context(), id, "x"); !errors.Is(err, store.ErrNoUser) {
			t.Errorf("renaming a deleted user: %v", err)
		}
		if again := signIn(t, s, ada); again == id {
			t.Error("a deleted user is back")
		}
		if _, err := s.User(t.Context(), bob); err != nil {
			t.Errorf("another user: %v", err)
		}
	})
}

// TestFirstSignInsAtOnce makes one user of several first sign-ins at the same time, and nobody else.
func TestFirstSignInsAtOnce(t *testing.T) {
	databases(t, func(t *testing.T, address string) {
		s := open(t, address)
		var group sync.WaitGroup
		ids := make([]string, 12)
		for n := range ids {
			group.Go(func() {
				var err error
				if ids[n], err = s.SignIn(t.Context(), ada, noon); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		everyone, err := s.Users(t.Context())
		if ids = slices.Compact(ids); len(ids) != 1 || len(everyone) != 1 || err != nil {
			t.Errorf("they are %v, and everyone is %v, error %v", ids, everyone, err)
		}
	})
}

// TestMigrations opens a database from several nodes at once, and again later.
func TestMigrations(t *testing.T) {
	databases(t, func(t *testing.T, address string) {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				s, err := store.Open(t.Context(), address)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		id := signIn(t, open(t, address), ada)
		if again := signIn(t, open(t, address), ada); again != id {
			t.Error("what was stored is gone")
		}
	})
}

// TestAddresses refuses what is no database, without quoting it.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"sqlite:people.db": true, "postgres://me:hunter2@db/people": true, "postgresql://db/people": true,
		"sqlite:": false, "people.db": false, "mysql://me:hunter2@db/people": false, "": false,
	} {
		if err := store.CheckAddress(address); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		} else if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error quotes a password: %v", err)
		}
	}
}
