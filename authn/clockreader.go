package authn

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// clockReader reads the provider's clock off the Date of its answers (RFC 9110 section
// 6.6.1), to about a second.
type clockReader struct {
	next http.RoundTripper
	now  func() time.Time

	mu sync.Mutex
	// ahead is by how much the provider's clock is ahead of this one.
	ahead time.Duration
	known bool
}

// RoundTrip implements http.RoundTripper.
func (c *clockReader) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := c.now()
	resp, err := c.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	received := c.now()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return resp, nil // one without a date, which says nothing
	}
	// What a cache between kept for so many seconds is that much younger (RFC 9111
	// section 5.1).
	if age, err := strconv.Atoi(resp.Header.Get("Age")); err == nil && age > 0 {
		date = date.Add(time.Duration(age) * time.Second)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Date has no fractions, and the answer was made somewhere between the two moments.
	c.ahead = date.Add(time.Second / 2).Sub(sent.Add(received.Sub(sent) / 2)).Round(time.Second)
	c.known = true
	return resp, nil
}

// noticeableSkew is a difference that a second's precision, and a slow answer, do not
// explain.
const noticeableSkew = 10 * time.Second

func (e *Examination) checkClock(context.Context) Finding {
	e.clock.mu.Lock()
	ahead, known := e.clock.ahead, e.clock.known
	e.clock.mu.Unlock()
	if !known {
		return skipped("no answer of the provider's had a date")
	}
	const remedy = "set the clock of this machine by a time server, and look at the provider's if this one is right"
	found := fmt.Sprintf("this machine's clock is %s behind the provider's", ahead)
	if ahead < 0 {
		found = fmt.Sprintf("this machine's clock is %s ahead of the provider's", -ahead)
	}
	switch {
	case ahead.Abs() > leeway:
		return failed(SideMachine, fmt.Sprintf("%s; beyond %s, ID tokens are refused", found, leeway), remedy)
	case ahead.Abs() > noticeableSkew:
		return warning(SideMachine, fmt.Sprintf("%s; up to %s is borne", found, leeway), remedy)
	}
	return ok("this machine's and the provider's agree within %s", noticeableSkew)
}
