package routes

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
)

// Request is what every line of the log says of the request that it belongs to.
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

// identify gives every request an id of ours. One that the client sends is not taken: a
// log must not hold what a stranger wants it to. The trace that it says it is a part of is
// kept for whoever wants to follow it, beside that id.
func (a *App) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		request := Request{ID: rand.Text()[:16], Client: c.RealIP()}
		c.Response().Header()[echo.HeaderXRequestID] = []string{request.ID}
		r := c.Request()
		ctx := context.WithValue(r.Context(), requestKey{}, request)
		if headers := r.Header["Traceparent"]; len(headers) == 1 {
			if trace, ok := authn.ParseTraceparent(headers[0]); ok {
				ctx = authn.WithTrace(ctx, trace)
			}
		}
		c.SetRequest(r.WithContext(ctx))
		return next(c)
	}
}

// observe answers errors, and then logs and measures the request: with the path and never
// the query, where codes and states are.
func (a *App) observe(next echo.HandlerFunc) echo.HandlerFunc {
	probes := []string{"/healthz", "/readyz"}
	return func(c echo.Context) error {
		began := time.Now()
		if err := next(c); err != nil {
			a.handleError(err, c)
		}
		took, status := time.Since(began), c.Response().Status
		a.measure(c, status, took)
		r, level := c.Request(), slog.LevelInfo
		if slices.Contains(probes, c.Path()) || c.Response().Header().Get(echo.HeaderContentType) == eventStreamType {
			level = slog.LevelDebug // what comes every few seconds, or with every page
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
