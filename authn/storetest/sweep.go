package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
)

func listCases() []testCase {
	return []testCase{
		{"is empty for an owner without a session", func(t *testing.T, s authn.Store) {
			create(t, s, record("a"))
			wantKeys(t, "List", keysOf(list(t, s, key("owner Bob"))))
			wantKeys(t, "List", keysOf(list(t, s, record("a").Owner)), record("a").Key)
		}},
		{"Count counts what List returns", func(t *testing.T, s authn.Store) {
			for _, name := range []string{"a", "b", "c"} {
				create(t, s, record(name))
			}
			n, err := s.Count(t.Context(), record("a").Owner)
			wantErr(t, "Count", err, nil)
			none, err := s.Count(t.Context(), key("owner Bob"))
			wantErr(t, "Count of nobody", err, nil)
			if n != 3 || none != 0 {
				t.Errorf("Count: %d and %d, want 3 and 0", n, none)
			}
		}},
		{"returns the last sign-in first, without sealed parts", listOrder},
		{"LB-08 finds by owner and by provider session", func(t *testing.T, s authn.Store) {
			create(t, s, record("a"))
			wantKeys(t, "List of a provider session", keysOf(list(t, s, record("a").ProviderSession)), record("a").Key)
			wantKeys(t, "List of the owner", keysOf(list(t, s, record("a").Owner)), record("a").Key)
		}},
	}
}

func allCases() []testCase {
	return []testCase{
		{"returns nothing of an empty store", func(t *testing.T, s authn.Store) {
			wantKeys(t, "All", keysOf(all(t, s)))
		}},
		{"returns the records of everyone, without sealed parts, and none that has ended", allRecords},
		{"returns each of many records once, and lets its caller end them", allOfMany},
		{"stops when its caller does", func(t *testing.T, s authn.Store) {
			create(t, s, record("a"), record("b"))
			for range s.All(t.Context()) {
				break
			}
			wantAlive(t, s, record("a"), record("b"))
		}},
	}
}

func allRecords(t *testing.T, s authn.Store) {
	ada, bob, ended, alone := record("a"), record("Bob's"), record("ended"), record("alone")
	bob.Owner, alone.ProviderSession = key("owner Bob"), authn.Key{}
	create(t, s, ada, bob, ended, alone)
	end(t, s, ended)
	wantErr(t, "Touch", s.Touch(t.Context(), bob.Key, at(time.Hour), at(50*time.Hour)), nil)
	bob.LastSeen, bob.Expires = at(time.Hour), at(50*time.Hour)
	want := make(map[authn.Key]authn.Record)
	for _, r := range []authn.Record{ada, bob, alone} {
		r.Version, r.Sealed = 1, nil
		want[r.Key] = r
	}
	got := all(t, s)
	if len(got) != len(want) {
		t.Fatalf("All returned %d records, want %d", len(got), len(want))
	}
	for _, r := range got {
		wantRecord(t, r, want[r.Key])
	}
}

func allOfMany(t *testing.T, s authn.Store) {
	const many = 1100
	errs := together(many, func(i int) error {
		r := record(fmt.Sprint(i))
		r.Owner = key(fmt.Sprint("owner ", i))
		return s.Create(t.Context(), r)
	})
	want, left := make([]authn.Key, many), make([]authn.Key, 0, many)
	for i, err := range errs {
		wantErr(t, "Create", err, nil)
		want[i] = record(fmt.Sprint(i)).Key
	}
	var got []authn.Key
	for r, err := range s.All(t.Context()) {
		wantErr(t, "All", err, nil)
		if len(got)%100 == 0 {
			end(t, s, r)
		} else {
			left = append(left, r.Key)
		}
		got = append(got, r.Key)
	}
	wantKeys(t, "All", got, want...)
	wantKeys(t, "All of what is left", keysOf(all(t, s)), left...)
}

func all(t *testing.T, s authn.Store) (list []authn.Record) {
	t.Helper()
	for r, err := range s.All(t.Context()) {
		wantErr(t, "All", err, nil)
		list = append(list, r)
	}
	return list
}

func listOrder(t *testing.T, s authn.Store) {
	var want []authn.Record
	for _, hours := range []int{3, 1, 5, 4, 2} {
		r := signedIn(fmt.Sprint(hours), time.Duration(hours)*time.Hour)
		create(t, s, r)
		r.Version, r.Sealed = 1, nil
		want = append(want, r)
	}
	bobs := record("Bob's")
	bobs.Owner = key("owner Bob")
	create(t, s, bobs)
	slices.SortFunc(want, func(a, b authn.Record) int { return b.SignedIn.Compare(a.SignedIn) })

	got := list(t, s, want[0].Owner)
	if len(got) != len(want) {
		t.Fatalf("List returned %d records, want %d", len(got), len(want))
	}
	for i := range want {
		wantRecord(t, got[i], want[i])
	}
}

func onceCases() []testCase {
	return []testCase{
		{"LB-10 is true once for each key", func(t *testing.T, s authn.Store) {
			wantOnce(t, s, "a", true)
			wantOnce(t, s, "a", false)
			wantOnce(t, s, "b", true)
			wantOnce(t, s, "a", false)
		}},
		{"LB-10 is true for one of 50 callers at a time", func(t *testing.T, s authn.Store) {
			for round := range 5 {
				firsts := together(50, func(int) bool {
					first, err := s.Once(t.Context(), key(fmt.Sprint("once ", round)), at(time.Hour))
					wantErr(t, "Once", err, nil)
					return first
				})
				if n := count(firsts, true); n != 1 {
					t.Errorf("round %d: %d callers were the first, want 1", round, n)
				}
			}
		}},
		{"keeps its keys apart from those of sessions", func(t *testing.T, s authn.Store) {
			create(t, s, record("a"))
			for _, k := range []authn.Key{record("a").Key, record("b").Key} {
				first, err := s.Once(t.Context(), k, at(time.Hour))
				wantErr(t, "Once", err, nil)
				if !first {
					t.Error("the key of a session counts as used")
				}
			}
			wantAlive(t, s, record("a"))
			create(t, s, record("b"))
		}},
	}
}

func sweepCases() []testCase {
	return []testCase{
		{"drops expired records and no others", func(t *testing.T, s authn.Store) {
			gone, left := record("gone"), record("left")
			gone.Expires, left.Expires = at(time.Hour), at(3*time.Hour)
			create(t, s, gone, left)
			wantSwept(t, s, at(time.Hour-time.Second), 0)
			wantAlive(t, s, gone, left)
			wantSwept(t, s, at(time.Hour+time.Second), 1)
			wantGone(t, s, gone)
			wantAlive(t, s, left)
			wantErr(t, "Save after Sweep", s.Save(t.Context(), gone), authn.ErrNotFound)
			wantErr(t, "Touch after Sweep", s.Touch(t.Context(), gone.Key, at(0), at(time.Hour)), authn.ErrNotFound)
			wantSwept(t, s, at(time.Hour+time.Second), 0)
		}},
		{"goes by the Expires of the last Touch", func(t *testing.T, s authn.Store) {
			r := record("touched")
			r.Expires = at(time.Hour)
			create(t, s, r)
			wantErr(t, "Touch", s.Touch(t.Context(), r.Key, at(0), at(3*time.Hour)), nil)
			wantSwept(t, s, at(2*time.Hour), 0)
			wantAlive(t, s, r)
			wantSwept(t, s, at(4*time.Hour), 1)
		}},
		{"removes the records from their indexes", func(t *testing.T, s authn.Store) {
			a, b := record("a"), record("b")
			a.Expires = at(time.Hour)
			create(t, s, a, b)
			wantSwept(t, s, at(2*time.Hour), 1)
			wantIndexed(t, s, a, b)
		}},
		{"forgets ended sessions, but not too early", func(t *testing.T, s authn.Store) {
			end(t, s, record("a"))
			wantSwept(t, s, at(time.Hour-time.Second), 0)
			wantErr(t, "Create", s.Create(t.Context(), record("a")), authn.ErrEnded)
			wantSwept(t, s, later(), 0)
			create(t, s, record("a"))
		}},
		{"forgets revocations, but not too early", func(t *testing.T, s authn.Store) {
			create(t, s, record("a"))
			revoke(t, s, record("a").Owner, at(0))
			wantSwept(t, s, at(time.Hour-time.Second), 0)
			for _, label := range []string{"a", "b"} {
				wantErr(t, "Create", s.Create(t.Context(), record(label)), authn.ErrEnded)
			}
			wantSwept(t, s, later(), 0)
			create(t, s, record("a"), record("b"))
		}},
		{"LB-10 forgets the keys of Once, but not too early", func(t *testing.T, s authn.Store) {
			wantOnce(t, s, "a", true)
			wantSwept(t, s, at(time.Hour-time.Second), 0)
			wantOnce(t, s, "a", false)
			wantSwept(t, s, later(), 0)
			wantOnce(t, s, "a", true)
		}},
		{"drops 2,500 records in one call and leaves those between them", sweepMany},
	}
}

func sweepMany(t *testing.T, s authn.Store) {
	const gone, left = 2500, 250
	together(50, func(worker int) bool {
		for i := worker; i < gone+left; i += 50 {
			r := record(fmt.Sprint(i))
			if i < gone {
				r.Expires = at(time.Hour)
			}
			r.Owner = key(fmt.Sprint("owner ", i%7))
			wantErr(t, "Create", s.Create(t.Context(), r), nil)
		}
		return true
	})
	wantSwept(t, s, at(2*time.Hour), gone)
	found := 0
	for owner := range 7 {
		found += len(list(t, s, key(fmt.Sprint("owner ", owner))))
	}
	if found != left {
		t.Errorf("%d records are left, want %d", found, left)
	}
}

func wantOnce(t *testing.T, s authn.Store, label string, want bool) {
	t.Helper()
	first, err := s.Once(t.Context(), key("once "+label), at(time.Hour))
	wantErr(t, "Once", err, nil)
	if first != want {
		t.Errorf("Once of %q is %v, want %v", label, first, want)
	}
}

func wantSwept(t *testing.T, s authn.Store, now time.Time, want int) {
	t.Helper()
	if n := sweep(t, s, now); n != want {
		t.Errorf("Sweep dropped %d records, want %d", n, want)
	}
}

// together runs fn on n goroutines, as concurrently as possible, and returns the results.
func together[T any](n int, fn func(worker int) T) []T {
	answers := make([]T, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for worker := range n {
		wg.Go(func() {
			<-start
			answers[worker] = fn(worker)
		})
	}
	close(start)
	wg.Wait()
	return answers
}

func count[T comparable](list []T, want T) int {
	n := 0
	for _, v := range list {
		if v == want {
			n++
		}
	}
	return n
}
