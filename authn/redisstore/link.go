package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// pingInterval is how often an idle connection is checked.
const pingInterval = 500 * time.Millisecond

// limits are how long the server may take.
type limits struct {
	dial time.Duration // to accept a connection, and then for the handshake
	ping time.Duration // to reply to the check of an idle connection
	call time.Duration // for a call, even if its context allows more
	load time.Duration // for Load, for which every request waits
}

func defaultLimits() limits {
	return limits{dial: time.Second, ping: time.Second, call: 2 * time.Second, load: time.Second}
}

// errClosed means that the store is closed.
var errClosed = errors.New("the store is closed")

// link holds the client. It makes the client on first use, because the server may start
// after the app. A client reconnects to its server by itself.
type link struct {
	option rueidis.ClientOption
	log    *slog.Logger

	mu      sync.Mutex
	client  rueidis.Client
	attempt *attempt // in progress; nil between attempts
	closed  bool
}

// attempt is an attempt to make a client, shared by all callers that wait for it.
type attempt struct {
	done   chan struct{}
	client rueidis.Client
	err    error
}

func newLink(options *Options, track func() rueidis.CacheStore, log *slog.Logger) *link {
	option := options.client
	option.Dialer.Timeout, option.Dialer.KeepAlive = options.limits.dial, pingInterval
	option.ConnWriteTimeout = options.limits.ping
	option.DialCtxFn = options.dial
	option.Sentinel.Dialer = option.Dialer
	option.Sentinel.TopologyRefreshInterval = 5 * time.Second
	option.NewCacheStoreFn = func(rueidis.CacheStoreOption) rueidis.CacheStore { return track() }
	// The caller decides whether to retry: it knows how long a person will wait.
	option.DisableRetry = true
	// An abandoned call must not close the connection, which others use.
	option.AlwaysPipelining = true
	option.PipelineMultiplex = -1
	option.ReadBufferEachConn, option.WriteBufferEachConn = 64<<10, 64<<10
	return &link{option: option, log: log}
}

// get returns the client. If there is none, it waits for an attempt to make one.
func (l *link) get(ctx context.Context) (rueidis.Client, error) {
	l.mu.Lock()
	if l.closed || l.client != nil {
		defer l.mu.Unlock()
		if l.closed {
			return nil, errClosed
		}
		return l.client, nil
	}
	if l.attempt == nil {
		l.attempt = &attempt{done: make(chan struct{})}
		go l.make(l.attempt)
	}
	a := l.attempt
	l.mu.Unlock()
	select {
	case <-a.done:
		return a.client, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *link) make(a *attempt) {
	defer close(a.done)
	client, err := rueidis.NewClient(l.option)
	if err != nil && client != nil {
		client.Close()
		client = nil
	}
	if err == nil {
		l.warnOfEviction(client)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempt = nil
	if err == nil && l.closed {
		go client.Close()
		client, err = nil, errClosed
	}
	l.client, a.client, a.err = client, client, err
}

// warnOfEviction logs a warning if the server may evict keys before they expire. If it
// evicted an index, a revocation would miss the sessions in it.
func (l *link) warnOfEviction(client rueidis.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), l.option.Dialer.Timeout)
	defer cancel()
	info, err := client.Do(ctx, client.B().Info().Section("memory").Build()).ToString()
	if err != nil {
		return // the user may not ask, or the server is down again
	}
	limited := !strings.Contains(info, "\nmaxmemory:0\r")
	if limited && strings.Contains(info, "\nmaxmemory_policy:") && !strings.Contains(info, "\nmaxmemory_policy:noeviction\r") {
		l.log.Warn("the session store's server drops keys when its memory is full, and sign-out by the provider may then miss sessions; set its maxmemory-policy to noeviction")
	}
}

// dropIfReplica drops a client whose server has become a replica. The address may already lead to
// the new primary, but the existing connection does not.
func (l *link) dropIfReplica(client rueidis.Client, err error) {
	if !answered(err, "READONLY") {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client == client {
		l.client = nil
		go client.Close()
	}
}

func (l *link) close() {
	l.mu.Lock()
	client := l.client
	l.client, l.closed = nil, true
	l.mu.Unlock()
	if client != nil {
		client.Close()
	}
}

// refused reports whether the error can be fixed only by another configuration.
func refused(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if errors.Is(err, errPlain) || errors.Is(err, rueidis.ErrNoCache) {
		return true
	}
	return answered(err, "WRONGPASS", "NOAUTH", "NOPERM")
}

// answered reports whether err is a reply from the server with one of the codes.
func answered(err error, codes ...string) bool {
	answer, ok := errors.AsType[*rueidis.RedisError](err)
	if !ok {
		return false
	}
	code, _, _ := strings.Cut(answer.Error(), " ")
	return slices.Contains(codes, code)
}
