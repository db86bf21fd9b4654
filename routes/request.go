package routes

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views/messages"
)

// Request is what each log line records about its request.
type Request struct {
	// ID is the reference that an error page shows.
	ID string
	// Client is the address that the request came from.
	Client string
	// Operator is who sent it, as they say, on the operators' address.
	Operator string
}

// RequestOf returns the request that a context belongs to, or the zero Request.
func RequestOf(ctx context.Context) Request {
	if c, ok := ctx.Value(requestKey{}).(*requestContext); ok {
		return c.request
	}
	return Request{}
}

// requestContext is the context of a request with everything that the middleware learns about it,
// so that the request is copied once and not for each value.
type requestContext struct {
	context.Context
	request Request
	trace   openid.Trace
	session *authn.Session
	caller  *authn.Caller
	texts   *messages.Catalogue
}

type requestKey struct{}

// Value implements context.Context.
func (c *requestContext) Value(key any) any {
	switch key.(type) {
	case requestKey:
		return c
	case openid.TraceKey:
		return &c.trace
	case authn.SessionKey:
		return c.session
	case authn.ClientKey:
		return c.request.Client
	case authn.CallerKey:
		return c.caller
	case messages.Key:
		return c.texts
	default:
		return c.Context.Value(key)
	}
}

// setSession puts the session into the context of a request.
func setSession(c echo.Context, s *authn.Session) {
	c.Request().Context().Value(requestKey{}).(*requestContext).session = s
}

// setCaller puts the caller into the context of a request. If the caller has an access token, setCaller
// removes a session that middleware has found: it may be another person's.
func setCaller(c echo.Context, caller *authn.Caller) {
	ctx := c.Request().Context().Value(requestKey{}).(*requestContext)
	ctx.caller = caller
	if caller.Token != nil {
		ctx.session = nil
	}
}

// texts returns the texts in the language of a request.
func texts(c echo.Context) *messages.Catalogue { return messages.FromContext(c.Request().Context()) }

// identify gives every request an id and a language. It ignores an id that the client sends, because a stranger
// must not choose what the log says. It also keeps the trace context that the client sends.
func (a *App) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		ctx := &requestContext{Context: r.Context(), request: Request{ID: rand.Text()[:16], Client: c.RealIP()}, texts: a.languages.Match(r.Header["Accept-Language"])}
		c.Response().Header()[echo.HeaderXRequestID] = []string{ctx.request.ID}
		if headers := r.Header["Traceparent"]; len(headers) == 1 {
			ctx.trace, _ = openid.ParseTraceparent(headers[0])
		}
		c.SetRequest(r.WithContext(ctx))
		return next(c)
	}
}

// startSpan starts the span of a request and returns the function that ends it, or nil if the request is
// not traced. An event stream is not: it lasts as long as its page.
func (a *App) startSpan(c echo.Context) func(...slog.Attr) {
	if a.StartSpan == nil || c.Path() == "/events" {
		return nil
	}
	labels := a.durations.labels(c.Path(), c.Request().Method)
	ctx, end := a.StartSpan(c.Request().Context(), labels.method+" "+labels.route)
	c.SetRequest(c.Request().WithContext(ctx))
	return end
}

// observe answers errors, and then logs and measures the request. It logs the path but never the
// query, which may hold codes and states.
func (a *App) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		endSpan := a.startSpan(c)
		err := next(c)
		if err != nil {
			a.handleError(err, c)
		}
		now, status := time.Now(), c.Response().Status
		took := now.Sub(began)
		a.durations.add(c.Path(), c.Request().Method, status, took)
		if endSpan != nil {
			endSpan(slog.Int("status", status))
		}
		r, level := c.Request(), slog.LevelInfo
		if c.Path() == "/healthz" || c.Path() == "/readyz" || c.Response().Header().Get(echo.HeaderContentType) == eventStreamType {
			level = slog.LevelDebug // these come every few seconds, or with every page
		}
		if log := a.Log.Handler(); log.Enabled(r.Context(), level) {
			// A Logger would look up the caller of each line, which nothing shows.
			record := slog.NewRecord(now, level, "request answered", 0)
			record.AddAttrs(slog.String("method", r.Method), slog.String("path", r.URL.Path),
				slog.Int("status", status), slog.Float64("took_ms", float64(took.Microseconds())/1000))
			if s := current(c); s != nil {
				record.AddAttrs(slog.String("session", s.LogID()))
			}
			_ = log.Handle(r.Context(), record) // as a Logger does
		}
		if err != nil && is[*cutOffError](err) {
			panic(http.ErrAbortHandler) // the client must not take a part of the answer for the whole
		}
		return nil
	}
}
