package authn

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"time"
)

// Limits on everything that goes to the provider. They are for a provider that is
// slow, broken or hostile; a working one stays far below them.
const (
	connectTimeout   = 2 * time.Second
	tlsTimeout       = 3 * time.Second
	callTimeout      = 5 * time.Second
	maxResponseBytes = 256 << 10
	maxConnections   = 64
)

// errMediaType says that a provider's answer is of another media type than it must be.
var errMediaType = errors.New("which is not expected here")

// errResponseTooLarge says that a provider's answer went past maxResponseBytes.
var errResponseTooLarge = errors.New("authn: the provider's response is too large")

// newClient returns the one HTTP client for all calls to the provider. It gives up
// in time, reads no more than it should, and follows no redirects: a redirected
// token request would carry the code, the verifier and the client secret to
// whoever it is redirected to (RFC 9700 section 4.12).
func newClient(cfg Config) *http.Client {
	return &http.Client{
		Timeout: callTimeout,
		Transport: boundedTransport{&measuredTransport{statistics: cfg.Statistics, now: cfg.Now, log: cfg.Log, next: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
			TLSHandshakeTimeout:    tlsTimeout,
			ForceAttemptHTTP2:      true,
			MaxConnsPerHost:        maxConnections,
			MaxIdleConns:           maxConnections,
			MaxIdleConnsPerHost:    maxConnections,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		}}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// boundedTransport cuts off a response body, after decompression, at
// maxResponseBytes.
type boundedTransport struct{ next http.RoundTripper }

func (t boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxResponseBytes}
	return resp, nil
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if len(p) > b.left+1 {
		p = p[:b.left+1] // one byte more than allowed tells "full" from "too much"
	}
	n, err := b.ReadCloser.Read(p)
	if n > b.left {
		return 0, errResponseTooLarge
	}
	b.left -= n
	return n, err
}

// readJSON returns the body of a response that must be 200 and JSON.
func readJSON(resp *http.Response) ([]byte, error) {
	body, _, err := readBody(resp, "application/json")
	return body, err
}

// readBody returns the body of a response that must be 200 and of one of the media types,
// and that type. Its errors never quote the body: what a provider sends may hold tokens.
func readBody(resp *http.Response, types ...string) (body []byte, mediaType string, err error) {
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", &statusError{resp.StatusCode}
	}
	mediaType, _, err = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(types, mediaType) {
		return nil, "", fmt.Errorf("authn: the response is %q, %w", mediaType, errMediaType)
	}
	body, err = io.ReadAll(resp.Body)
	switch {
	case errors.Is(err, errResponseTooLarge):
		return nil, "", err
	case err != nil:
		// It began to answer and stopped: that is a provider out of reach, too.
		return nil, "", refuse(ReasonProviderUnreachable, "reading the response: %w", err)
	}
	return body, mediaType, nil
}

// statusError is an answer of another status than 200.
type statusError struct{ status int }

func (e *statusError) Error() string {
	return fmt.Sprintf("authn: the provider answered %d %s", e.status, http.StatusText(e.status))
}
