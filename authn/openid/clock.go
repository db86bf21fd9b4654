package openid

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Leeway is how far the provider's clock and this one may differ.
const Leeway = time.Minute

// clockSkew reads the provider's clock off the Date of its responses (RFC 9110 section
// 6.6.1), to about a second.
type clockSkew struct {
	log *slog.Logger

	mu    sync.Mutex
	skew  time.Duration // by which the provider's clock is ahead of this one
	known bool
	// logged is the skew that the log mentions; 0 for none.
	logged time.Duration
}

// read compares the clocks. It logs when they are too far apart for tokens to be accepted,
// and when they no longer are.
func (c *clockSkew) read(ctx context.Context, header http.Header, sent, received time.Time) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	// A cache in between may have kept the response for this many seconds (RFC 9111 section
	// 5.1).
	if age, err := strconv.Atoi(header.Get("Age")); err == nil && age > 0 {
		date = date.Add(time.Duration(age) * time.Second)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// The response was written between the two moments.
	c.skew = date.Sub(sent.Add(received.Sub(sent) / 2)).Round(time.Second)
	c.known = true
	seconds := slog.Int64("skew_s", int64(c.skew/time.Second))
	switch {
	case c.skew.Abs() > Leeway && (c.skew-c.logged).Abs() > Leeway:
		c.logged = c.skew
		c.log.LogAttrs(ctx, slog.LevelWarn, "clock skew noticed: the provider's clock and this one are too far apart for tokens to be accepted", seconds)
	case c.skew.Abs() <= Leeway && c.logged != 0:
		c.logged = 0
		c.log.LogAttrs(ctx, slog.LevelInfo, "clock skew gone", seconds)
	}
}

func (c *clockSkew) ahead() (skew time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.skew, c.known
}

// ClockSkew returns by how much the provider's clock is ahead of this one, to about a second,
// and whether any response has had a date.
func (p *Provider) ClockSkew() (skew time.Duration, known bool) { return p.clock.ahead() }
