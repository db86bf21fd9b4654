package boltstore_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"latchkey/authn"
	"latchkey/authn/boltstore"
	"latchkey/authn/storetest"
)

// sealedBytes is the size of a typical session: 1.2 KB of claims and three tokens.
const sealedBytes = 3000

func BenchmarkLoad(b *testing.B) {
	s := openStore(b, filepath.Join(b.TempDir(), "data", "sessions.db"))
	defer s.Close()
	keys := fill(b, s, 1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := s.Load(b.Context(), keys[i%len(keys)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSave(b *testing.B) {
	s := openStore(b, filepath.Join(b.TempDir(), "data", "sessions.db"))
	defer s.Close()
	r := newRecord(sealedBytes)
	must(b, s.Create(b.Context(), r))
	for b.Loop() {
		r.Version++
		must(b, s.Save(b.Context(), r))
	}
}

// BenchmarkSaveTogether saves from 64 goroutines at once. They share the wait for the disk.
func BenchmarkSaveTogether(b *testing.B) {
	s := openStore(b, filepath.Join(b.TempDir(), "data", "sessions.db"))
	defer s.Close()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		r := newRecord(sealedBytes)
		if err := s.Create(b.Context(), r); err != nil {
			b.Error(err)
		}
		for pb.Next() {
			r.Version++
			if err := s.Save(b.Context(), r); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkSize fills a file with sessions of different people and loads them at random. A
// million sessions run only by name.
func BenchmarkSize(b *testing.B) {
	for _, sessions := range []int{1_000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(sessions), func(b *testing.B) {
			storetest.Large(b, sessions)
			path := filepath.Join(b.TempDir(), "data", "sessions.db")
			s := openStore(b, path)
			defer s.Close()
			keys := fill(b, s, sessions)
			file, err := os.Stat(path)
			must(b, err)
			var x uint64 = 1
			for b.Loop() {
				x = x*6364136223846793005 + 1442695040888963407
				if _, err := s.Load(b.Context(), keys[(x>>33)%uint64(len(keys))]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(file.Size())/float64(sessions), "B/session")
		})
	}
}

// fill creates n sessions of n people, many at a time, and returns their keys.
func fill(b *testing.B, s *boltstore.Store, n int) []authn.Key {
	b.Helper()
	const workers = 1000
	keys := make([]authn.Key, n)
	var filling sync.WaitGroup
	for worker := range workers {
		filling.Go(func() {
			for i := worker; i < n; i += workers {
				r := newRecord(sealedBytes)
				binary.BigEndian.PutUint64(r.Owner[:], uint64(i))
				if err := s.Create(b.Context(), r); err != nil {
					b.Error(err)
					return
				}
				keys[i] = r.Key
			}
		})
	}
	filling.Wait()
	return keys
}
