package routes

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
)

const (
	// proxyTimeout bounds a proxied request, from its header to the last byte of the answer, and
	// writeTimeout is the time after that in which the client gets the error.
	proxyTimeout = 25 * time.Second
	writeTimeout = 5 * time.Second
	// maxProxied bounds the body of a proxied request and of its answer.
	maxProxied = 10 << 20
	// maxRepeated bounds the body that is kept, so that the request can be repeated with a new token.
	maxRepeated = 64 << 10
)

// Upstream is an API that requests are passed on to.
type Upstream struct {
	// URL is the API's address, such as "https://orders.example.com/v1". Requests and tokens go there and
	// nowhere else. Plain http is only for the app's own network.
	URL string
	// API says which access token the API gets; the zero API is that of the sign-in.
	API openid.API
	// Methods are those that are passed on; none means GET, HEAD, POST, PUT, PATCH and DELETE.
	Methods []string
	// Timeout bounds a request and its answer; 0 means proxyTimeout.
	Timeout time.Duration
}

// These headers are passed on, and no others: no cookie, no credentials, nothing that a proxy adds or
// that is about the connection (RFC 9110 section 7.6.1), and nothing that says who the client is. The
// answer sets no cookies here, and replaces none of the app's own headers.
var (
	proxiedHeaders = []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Content-Encoding", "Content-Language", "Content-Type", "Idempotency-Key",
		"If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Prefer", "Range",
	}
	answeredHeaders = []string{
		"Accept-Ranges", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length", "Content-Range", "Content-Type",
		"Etag", "Last-Modified", "Preference-Applied", "Retry-After",
	}
)

// answerPolicy is the Content-Security-Policy of a proxied answer: whatever the API sends, it must not
// act as a page of this app.
const answerPolicy = "default-src 'none'; frame-ancestors 'none'; sandbox"

// NoAnswer returns the error of a handler that got no answer from an API: 502, or 504 after a timeout. An
// error about the person's session or tokens, as from the client of a TokenSource, stays what it is.
func NoAnswer(err error) error {
	if err == nil || openid.ReasonOf(err) != "" {
		return err
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return upstream("upstream_timeout", err)
	}
	return upstream("upstream_unreachable", err)
}

// WrongAnswer returns the error of a handler that got an answer from an API that it cannot use: 502. err
// is for the log, and must name nothing secret.
func WrongAnswer(err error) error { return upstream("upstream_answer_refused", err) }

// upstream returns the error of an API that did not do its part.
func upstream(reason string, err error) error {
	return &reasonError{reason: reason, err: fmt.Errorf("API: %w", err)}
}

// cutOffError says that an answer broke off after its header.
type cutOffError struct{ err error }

func (e *cutOffError) Error() string { return e.err.Error() }
func (e *cutOffError) Unwrap() error { return e.err }

var (
	errTokenRefused = upstream("upstream_token_refused", errors.New("the API refuses the access token: is the token meant for this API?"))
	errNotRepeated  = upstream("upstream_token_renewed", errors.New("the API refused an access token that has been renewed since, and the body is too long to repeat the request"))
	errNewNonce     = upstream("upstream_token_renewed", errors.New("the API asked for a nonce in the DPoP proof, and the body is too long to repeat the request"))
)

// Proxy passes the requests of people who are signed in, for a path and all paths below it, on to an API,
// with their access token. It is for scripts and htmx on this app's own pages.
//
// It does not restart the idle timeout, because scripts call APIs without a person.
func (a *App) Proxy(path string, to Upstream) {
	target, err := url.Parse(to.URL)
	if err != nil || target.Host == "" || target.User != nil || target.RawQuery != "" || target.Fragment != "" ||
		target.Scheme != "https" && (target.Scheme != "http" || !openid.IsPrivate(target.Hostname())) {
		panic(fmt.Sprintf("routes: proxy %s: %q is not an https URL without a query, nor an http URL in the app's own network", path, to.URL))
	}
	p := &proxy{app: a, path: path, target: target, timeout: cmp.Or(to.Timeout, proxyTimeout), tokens: a.TokenSource.For(to.API), transports: a.RelyingParties.Transports(&http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        256,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // the client decompresses
	})}
	p.reverse = &httputil.ReverseProxy{
		Rewrite: p.rewrite, Transport: p, ModifyResponse: p.check,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { w.(*exchange).err = err },
		ErrorLog:     log.New(io.Discard, "", 0), // errors are returned
	}
	methods := to.Methods
	if len(methods) == 0 {
		methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	}
	for _, pattern := range []string{path, path + "/*"} {
		for _, method := range methods {
			a.proxied[method+" "+pattern] = true
		}
		a.echo.Match(methods, pattern, p.serve, a.session)
	}
}

type proxy struct {
	app        *App
	path       string
	target     *url.URL
	timeout    time.Duration
	tokens     authn.APITokens
	transports authn.Transports
	reverse    *httputil.ReverseProxy
}

// exchange is a request to an API and its answer. It is the http.ResponseWriter of the ReverseProxy, with
// headers of its own: what the API says reaches the browser by WriteHeader alone. An interim answer (RFC
// 9110 section 15.2) and trailers do not.
type exchange struct {
	http.ResponseWriter
	header  http.Header
	address *url.URL // at the API
	access  *authn.AccessToken
	err     error
}

type exchangeKey struct{}

func (e *exchange) Header() http.Header         { return e.header }
func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter } // to flush

func (e *exchange) WriteHeader(status int) {
	if status < 200 {
		return
	}
	h := e.ResponseWriter.Header()
	for _, name := range answeredHeaders {
		if values := e.header[name]; len(values) > 0 {
			h[name] = values
		}
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/octet-stream") // net/http would guess
	}
	h.Set("Content-Security-Policy", answerPolicy)
	e.ResponseWriter.WriteHeader(status)
}

// serve answers errors with problem+json, except to htmx and to browsers that open the address.
func (p *proxy) serve(c echo.Context) error {
	err := p.pass(c)
	if r := c.Request(); err == nil || isHTMX(r) || strings.Contains(r.Header.Get("Accept"), "text/html") {
		return err
	}
	return &apiError{err}
}

// pass passes a request on, unless it is refused.
func (p *proxy) pass(c echo.Context) error {
	r := c.Request()
	address, err := p.admit(r)
	switch {
	case err != nil:
		return err
	case current(c) == nil:
		return p.app.noSession(c)
	}
	// A client that has closed only its sending side still reads; see handleError. A client that is gone is
	// noticed when the answer is written.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), p.timeout)
	defer cancel()
	// The server's limits are for pages. Its read deadline also ends the context of a request whose body
	// it has read. If the connection has no deadlines there are none to move.
	control, end := http.NewResponseController(c.Response()), time.Now().Add(p.timeout+writeTimeout)
	_, _ = control.SetReadDeadline(end), control.SetWriteDeadline(end)
	e := &exchange{ResponseWriter: c.Response(), header: make(http.Header), address: address}
	out := r.WithContext(context.WithValue(ctx, exchangeKey{}, e))
	if err := keepBody(out); err != nil {
		return err
	}
	if e.access, err = p.tokens.Access(ctx); err != nil {
		return p.explain(c, err)
	}
	cut := p.serveUntilCut(e, out)
	switch err := p.explain(c, e.err); {
	case !cut:
		return err
	case err == nil:
		return &cutOffError{upstream("upstream_unreachable", errors.New("the client does not read the answer"))}
	default:
		return &cutOffError{err}
	}
}

// serveUntilCut runs the ReverseProxy, and reports whether the answer broke off after its header. observe
// then ends the connection, once it has logged the request.
func (p *proxy) serveUntilCut(e *exchange, out *http.Request) (cut bool) {
	defer func() {
		if r := recover(); r != nil {
			if r != http.ErrAbortHandler {
				panic(r)
			}
			cut = true
		}
	}()
	p.reverse.ServeHTTP(e, out)
	return false
}

// admit returns the address at the API for a request of this app's own pages or of a person who opens
// the address. crossOriginCheck has passed other sites' GET requests, and SameSite does not stop pages of
// another origin on the same site. Nor is an answer ever a script, a style sheet, a worker or a frame of a
// page: the Content-Security-Policy trusts this origin.
func (p *proxy) admit(r *http.Request) (*url.URL, error) {
	rest, ok := below(r.URL.EscapedPath(), p.path)
	path, err := url.PathUnescape(rest)
	switch {
	case !fromOurOrigin(r):
		return nil, errCrossOrigin
	case !slices.Contains([]string{"", "empty", "document"}, r.Header.Get("Sec-Fetch-Dest")):
		return nil, errNotData
	case !ok || err != nil:
		return nil, badRequest("the API could read the path differently")
	case r.Header.Get("Upgrade") != "" || r.Method == http.MethodConnect:
		return nil, badRequest("the client asks for another protocol")
	case r.URL.Query().Has("access_token"): // RFC 6750 section 2.3: the API might prefer it
		return nil, invalidRequest(bearer, "an access token is in the query")
	case r.ContentLength > maxProxied:
		return nil, echo.ErrStatusRequestEntityTooLarge
	}
	address := *p.target
	address.Path = strings.TrimSuffix(p.target.Path, "/") + path
	address.RawPath = strings.TrimSuffix(p.target.EscapedPath(), "/") + rest
	return &address, nil
}

func badRequest(text string) error {
	return echo.NewHTTPError(http.StatusBadRequest).WithInternal(errors.New("routes: proxy: " + text))
}

// below returns the part of an escaped path that comes after a prefix. It refuses what one server takes
// literally and another one for a way out of the prefix: dot segments, also with parameters, and
// separators, percent signs and control characters that are escaped.
func below(escaped, prefix string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(escaped, prefix)
	segments := strings.Split(rest, "/")
	if !ok || segments[0] != "" {
		return "", false
	}
	for i, segment := range segments[1:] {
		text, err := url.PathUnescape(segment)
		name, _, _ := strings.Cut(text, ";")
		last := i == len(segments)-2
		if err != nil || !utf8.ValidString(text) || name == "." || name == ".." || name == "" && (text != "" || !last) ||
			strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune(`/\%`, r) }) {
			return "", false
		}
	}
	return rest, true
}

// keepBody bounds the body of a request, and reads it now if it is short, so that it can be sent again.
func keepBody(r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	r.Body = &boundedBody{ReadCloser: r.Body, left: maxProxied, tooLarge: echo.ErrStatusRequestEntityTooLarge, broken: func(err error) error {
		return echo.NewHTTPError(http.StatusBadRequest).WithInternal(fmt.Errorf("routes: proxy: reading the body: %w", err))
	}}
	if r.ContentLength < 0 || r.ContentLength > maxRepeated {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	return nil
}

// rewrite makes the request to the API.
func (p *proxy) rewrite(r *httputil.ProxyRequest) {
	e := r.In.Context().Value(exchangeKey{}).(*exchange)
	header := make(http.Header)
	for _, name := range proxiedHeaders {
		if values := r.In.Header[name]; len(values) > 0 {
			header[name] = values
		}
	}
	query := r.Out.URL.RawQuery // ReverseProxy has removed what servers read in different ways
	r.Out.URL, r.Out.Host, r.Out.Header, r.Out.Trailer = e.address, "", header, nil
	r.Out.URL.RawQuery = query
}

// RoundTrip sends a request to the API. If the API refuses the access token, it sends the request once
// more with a new one.
func (p *proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	access := ctx.Value(exchangeKey{}).(*exchange).access
	resp, err := access.Send(r, p.send)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	_ = resp.Body.Close()
	unrepeatable := r.Body != nil && r.GetBody == nil
	if openid.WantsNonce(resp) { // another token would be refused, too
		if unrepeatable {
			return nil, errNewNonce
		}
		return nil, errTokenRefused
	}
	access, err = p.tokens.Renew(ctx, access)
	switch {
	case err != nil:
		return nil, err
	case access == nil:
		return nil, errTokenRefused
	case unrepeatable:
		return nil, errNotRepeated
	}
	again := r.Clone(ctx)
	if r.GetBody != nil {
		if again.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	if resp, err = access.Send(again, p.send); err == nil && resp.StatusCode == http.StatusUnauthorized {
		_ = resp.Body.Close()
		return nil, errTokenRefused // the person is signed in: a 401 would tell their page otherwise
	}
	return resp, err
}

// send sends a request to the API, in a span that ends with the header of the answer.
func (p *proxy) send(r *http.Request) (*http.Response, error) {
	ctx, end := r.Context(), func(...slog.Attr) {}
	if p.app.StartSpan != nil {
		ctx, end = p.app.StartSpan(ctx, "proxy "+p.path)
		r = r.WithContext(ctx)
	}
	if trace := openid.TraceFrom(ctx); trace.ID() != "" {
		r.Header.Set("Traceparent", trace.Traceparent())
	}
	resp, err := p.transports.For(ctx).RoundTrip(r)
	if err != nil {
		end(slog.Bool("failed", true))
		return nil, err
	}
	end(slog.Int("status", resp.StatusCode))
	return resp, nil
}

// check refuses an answer that must not be passed on, such as a redirect, and bounds the body of any other.
func (p *proxy) check(resp *http.Response) error {
	invalid := func(format string, args ...any) error {
		return WrongAnswer(fmt.Errorf(format, args...))
	}
	switch status := resp.StatusCode; {
	case status < 200, status >= 300 && status < 400 && status != http.StatusNotModified, status == http.StatusProxyAuthRequired:
		return invalid("the API answers %d, which is not passed on", status) // a redirect could lead anywhere
	case resp.ContentLength > maxProxied && resp.Request.Method != http.MethodHead:
		return invalid("the API's answer has %d bytes", resp.ContentLength)
	}
	e := resp.Request.Context().Value(exchangeKey{}).(*exchange)
	resp.Body = &boundedBody{
		ReadCloser: resp.Body, left: maxProxied, tooLarge: invalid("the API's answer has more than %d bytes", maxProxied),
		broken: func(err error) error { return err }, failed: &e.err,
	}
	return nil
}

// explain returns the error of a request that was not passed on, or not answered.
func (p *proxy) explain(c echo.Context, err error) error {
	switch reason := openid.ReasonOf(err); {
	case err == nil, is[*reasonError](err), is[*echo.HTTPError](err):
		return err
	case reason == authn.ReasonSessionEnded:
		return p.app.noSession(c)
	case reason == authn.ReasonRefreshRefused: // there is no refresh token: only a sign-in helps
		return fmt.Errorf("routes: proxy: %w: %v", authn.ErrAnonymous, err)
	default:
		return NoAnswer(err)
	}
}

// boundedBody is a body of at most left bytes. Reading more returns tooLarge.
type boundedBody struct {
	io.ReadCloser
	left     int64
	tooLarge error
	broken   func(error) error // turns an error of the connection into that of Read
	failed   *error            // receives the error of Read; may be nil
}

func (b *boundedBody) Read(to []byte) (int, error) {
	n, err := b.ReadCloser.Read(to)
	b.left -= int64(n)
	switch {
	case b.left < 0:
		n, err = 0, b.tooLarge
	case err != nil && !errors.Is(err, io.EOF):
		err = b.broken(err)
	default:
		return n, err
	}
	if b.failed != nil {
		*b.failed = err
	}
	return n, err
}
