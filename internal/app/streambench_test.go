package app

import (
	"bufio"
	"net"
	"runtime"
	"strconv"
	"testing"
)

// BenchmarkOpenStream measures the memory of an open stream, including its connection.
func BenchmarkOpenStream(b *testing.B) {
	const people, each = 100, 6
	cfg, keys := streamingConfig(b)
	s := newStreaming(b, cfg, keys)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s.servers.serve([]net.Listener{listener}, s.Handler, nil)
	memory := func() uint64 {
		var m runtime.MemStats
		for range 3 { // pools are let go at the second, stacks halved at each
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	for b.Loop() {
		before := memory()
		var open []net.Conn
		for person := range people {
			cookie := s.signIn(b, "person"+strconv.Itoa(person))
			for range each {
				conn, err := net.Dial("tcp", listener.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				if _, err := bufio.NewReaderSize(ask(conn, cookie), 16).ReadString('\n'); err != nil {
					b.Fatal(err)
				}
				open = append(open, conn)
			}
		}
		b.ReportMetric(float64(memory()-before)/(people*each), "B/stream")
		for _, conn := range open {
			_ = conn.Close()
		}
		for s.Sessions.Watching() > 0 {
			runtime.Gosched()
		}
	}
	s.Handler.Drain()
	if err := s.servers.drain(); err != nil {
		b.Error(err)
	}
}
