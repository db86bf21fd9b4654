package redisstore_test

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"latchkey/authn"
	"latchkey/authn/redisstore"
	"latchkey/authn/storetest"
)

// sealedBytes is the size of a typical session: 1.2 KB of claims and three tokens.
const sealedBytes = 3000

func BenchmarkLoadCached(b *testing.B) {
	s := open(b, startServer(b).url)
	r := newRecord(sealedBytes)
	must(b, s.Create(b.Context(), r))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Load(b.Context(), r.Key); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad reads from the server each time.
func BenchmarkLoad(b *testing.B) {
	s := open(b, startServer(b).url)
	r := newRecord(sealedBytes)
	must(b, s.Create(b.Context(), r))
	b.ReportAllocs()
	for b.Loop() {
		s.Forget()
		if _, err := s.Load(b.Context(), r.Key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSave(b *testing.B) {
	s := open(b, startServer(b).url)
	r := newRecord(sealedBytes)
	must(b, s.Create(b.Context(), r))
	for b.Loop() {
		r.Version++
		must(b, s.Save(b.Context(), r))
	}
}

func BenchmarkCreate(b *testing.B) {
	s := open(b, startServer(b).url)
	for b.Loop() {
		must(b, s.Create(b.Context(), newRecord(sealedBytes)))
	}
}

// BenchmarkSize fills a server with sessions of different people and loads them at random.
// A million sessions run only by name.
func BenchmarkSize(b *testing.B) {
	for _, sessions := range []int{1_000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(sessions), func(b *testing.B) {
			storetest.Large(b, sessions)
			srv := startServer(b)
			s := open(b, srv.url)
			empty := memory(b, srv)
			keys := fill(b, s, sessions, sealedBytes)
			used := float64(memory(b, srv) - empty)
			var x uint64 = 1
			for b.Loop() {
				x = x*6364136223846793005 + 1442695040888963407
				if _, err := s.Load(b.Context(), keys[(x>>33)%uint64(len(keys))]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(used/float64(sessions), "B/session")
		})
	}
}

// fill creates n sessions of n people and returns their keys.
func fill(b *testing.B, s *redisstore.Store, n, sealed int) []authn.Key {
	b.Helper()
	keys := make([]authn.Key, n)
	var wg sync.WaitGroup
	for worker := range 64 {
		wg.Go(func() {
			for i := worker; i < n; i += 64 {
				r := newRecord(sealed)
				binary.BigEndian.PutUint64(r.Owner[:], uint64(i))
				if err := s.Create(b.Context(), r); err != nil {
					b.Error(fmt.Errorf("session %d: %w", i, err))
					return
				}
				keys[i] = r.Key
			}
		})
	}
	wg.Wait()
	return keys
}

// memory returns how much memory the server uses.
func memory(b *testing.B, srv *server) int64 {
	b.Helper()
	info, err := srv.do(b, "INFO", "memory").ToString()
	must(b, err)
	_, rest, _ := strings.Cut(info, "used_memory:")
	number, _, _ := strings.Cut(rest, "\r")
	n, err := strconv.ParseInt(number, 10, 64)
	must(b, err)
	return n
}
