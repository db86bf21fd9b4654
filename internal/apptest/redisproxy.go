package apptest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// RedisProxy is the network between the program and a Redis. A test can break it.
type RedisProxy struct {
	// URL is for SESSION_STORE.
	URL string

	server string // its socket

	mu      sync.Mutex
	network Network
	changed chan struct{} // closed by the next Set
	conns   map[net.Conn]struct{}
}

// Network is how a [RedisProxy] treats what passes. The zero Network changes nothing.
type Network struct {
	// Paused lets nothing pass. Connections stay open.
	Paused bool
	// Delay is how late replies are.
	Delay time.Duration
	// Cut ends each connection in the middle of the next reply.
	Cut bool
	// Break closes the connections that are open when the network changes to this.
	Break bool
	// Error is what the server answers to every command, such as "LOADING Redis is loading".
	Error string
}

// StartRedisProxy listens in front of a Redis until the test ends.
func StartRedisProxy(t *testing.T, redis *Redis) *RedisProxy {
	t.Helper()
	socket := filepath.Join(RedisDir(t), "p")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	p := &RedisProxy{
		URL: "unix://" + socket, server: strings.TrimPrefix(redis.URL, "unix://"),
		changed: make(chan struct{}), conns: make(map[net.Conn]struct{}),
	}
	t.Cleanup(func() {
		listener.Close()
		p.Set(Network{Break: true})
	})
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.connect(client)
		}
	}()
	return p
}

// Set changes the network, also for the connections that are open.
func (p *RedisProxy) Set(n Network) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.network = n
	close(p.changed)
	p.changed = make(chan struct{})
	if n.Break {
		for conn := range p.conns {
			conn.Close()
		}
	}
}

// now waits while the network is paused, and returns it.
func (p *RedisProxy) now() Network {
	for {
		p.mu.Lock()
		n, changed := p.network, p.changed
		p.mu.Unlock()
		if !n.Paused {
			return n
		}
		<-changed
	}
}

func (p *RedisProxy) connect(client net.Conn) {
	server, err := net.Dial("unix", p.server)
	if err != nil {
		client.Close()
		return
	}
	end := func() {
		client.Close()
		server.Close()
	}
	p.mu.Lock()
	p.conns[client] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, client)
		p.mu.Unlock()
	}()
	go func() {
		defer end()
		p.forwardReplies(client, server)
	}()
	defer end()
	p.forwardCommands(server, client)
}

func (p *RedisProxy) forwardReplies(client io.Writer, server io.Reader) {
	for chunk := make([]byte, 64<<10); ; {
		n, err := server.Read(chunk)
		if err != nil {
			return
		}
		network := p.now()
		if network.Delay > 0 {
			<-time.After(network.Delay)
		}
		reply := chunk[:n]
		if network.Cut {
			reply = reply[:n/2]
		}
		if _, err := client.Write(reply); err != nil || network.Cut {
			return
		}
	}
}

// forwardCommands forwards commands, or in their place one that the server answers with the
// error. So the errors come in the order of the commands. A transaction is forwarded whole
// or not at all.
func (p *RedisProxy) forwardCommands(server io.Writer, client io.Reader) {
	commands := bufio.NewReader(client)
	var network Network
	for inTransaction := false; ; {
		command, name, err := readCommand(commands)
		if err != nil {
			return
		}
		now := p.now()
		if !inTransaction {
			network = now
		}
		switch name {
		case "CLIENT CACHING", "MULTI": // the first one is about the transaction that follows
			inTransaction = true
		case "EXEC", "DISCARD":
			inTransaction = false
		}
		if network.Error != "" {
			const script = "return redis.error_reply(ARGV[1])"
			command = fmt.Appendf(nil, "*4\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n0\r\n$%d\r\n%s\r\n", len(script), script, len(network.Error), network.Error)
		}
		if _, err := server.Write(command); err != nil {
			return
		}
	}
}

// readCommand reads a command, which is an array of bulk strings. It returns the bytes and
// the name, which for CLIENT has two words.
func readCommand(r *bufio.Reader) (command []byte, name string, err error) {
	var raw bytes.Buffer
	count := func(kind byte) (int, error) {
		line, err := r.ReadString('\n')
		raw.WriteString(line)
		if err != nil || line[0] != kind {
			return 0, fmt.Errorf("%q is not a command: %w", line, err)
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	words, err := count('*')
	if err != nil {
		return nil, "", err
	}
	for i := range words {
		length, err := count('$')
		if err != nil {
			return nil, "", err
		}
		start := raw.Len()
		if _, err := io.CopyN(&raw, r, int64(length)+2); err != nil {
			return nil, "", err
		}
		word := strings.ToUpper(string(raw.Bytes()[start : start+length]))
		if i == 0 || i == 1 && name == "CLIENT" {
			name = strings.TrimSpace(name + " " + word)
		}
	}
	return raw.Bytes(), name, nil
}
