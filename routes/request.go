package routes

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn/openid"
)

// Request is what each log line records about its request.
type Request struct {
	// ID is the reference that an error page shows.
	ID string
	// Client is the address that the request came from.
	Client string
}

type requestKey struct{}

// RequestOf returns the request that a context belongs to, or the zero Request.
func RequestOf(ctx context.Context) Request {
	r, _ := ctx.Value(requestKey{}).(Request)
	return r
}

// identify gives every request an id. It ignores an id that the client sends, because a stranger
// must not choose what the log says. It also keeps the trace context that the client sends.
func (a *App) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		request := Request{ID: rand.Text()[:16], Client: c.RealIP()}
		c.Response().Header()[echo.HeaderXRequestID] = []string{request.ID}
		r := c.Request()
		ctx := context.WithValue(r.Context(), requestKey{}, request)
		if headers := r.Header["Traceparent"]; len(headers) == 1 {
			if trace, ok := openid.ParseTraceparent(headers[0]); ok {
				ctx = openid.WithTrace(ctx, trace)
			}
		}
		c.SetRequest(r.WithContext(ctx))
		return next(c)
	}
}

// observe answers errors, and then logs and measures the request. It logs the path but never the
// query, which may hold codes and states.
func (a *App) observe(next echo.HandlerFunc) echo.HandlerFunc {
	probes := []string{"/healthz", "/readyz"}
	return func(c echo.Context) error {
		began := time.Now()
		if err := next(c); err != nil {
			a.handleError(err, c)
		}
		took, status := time.Since(began), c.Response().Status
		a.durations.add(c.Path(), c.Request().Method, status, took)
		r, level := c.Request(), slog.LevelInfo
		if slices.Contains(probes, c.Path()) || c.Response().Header().Get(echo.HeaderContentType) == eventStreamType {
			level = slog.LevelDebug // these come every few seconds, or with every page
		}
		attributes := make([]slog.Attr, 0, 5)
		attributes = append(attributes, slog.String("method", r.Method), slog.String("path", r.URL.Path),
			slog.Int("status", status), slog.Float64("took_ms", float64(took.Microseconds())/1000))
		if s := current(c); s != nil {
			attributes = append(attributes, slog.String("session", s.LogID()))
		}
		a.Log.LogAttrs(r.Context(), level, "request answered", attributes...)
		return nil
	}
}
