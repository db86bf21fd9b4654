package routes

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/labstack/echo/v4"
)

// Listener returns a listener whose connections can send a page or a file in one write. net/http sends a
// response that is longer than its buffer of 4 KB in two or more, which costs a cached page an eighth more,
// and a file half more. The server also needs [ConnContext].
func Listener(l net.Listener) net.Listener { return listener{l} }

// ConnContext is the ConnContext of an [http.Server], through which the app finds the connection of a request.
// Only [App.ServeHTTP] sends what is rendered: other handlers of such a server must not render pages, and one
// that calls it must not recover from its panics.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*connection); ok {
		return context.WithValue(ctx, connectionKey{}, c)
	}
	return ctx
}

type connectionKey struct{}

// connectionOf returns the connection of a request, or nil if it cannot collect.
func connectionOf(r *http.Request) *connection {
	c, _ := r.Context().Value(connectionKey{}).(*connection)
	return c
}

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &connection{Conn: conn}, nil
}

// connection can collect what the server writes. A nil connection, such as that of a request with TLS,
// cannot.
type connection struct {
	net.Conn
	collected *bytes.Buffer // nil unless it collects
}

func (c *connection) Write(p []byte) (int, error) {
	if c.collected != nil {
		return c.collected.Write(p)
	}
	return c.Conn.Write(p)
}

// CloseWrite ends the sending side. net/http calls it after it has refused a request, so that the client
// still reads why.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// inOneWrite returns a handler that sends a file in one write, as render does with a page.
func inOneWrite(file http.Handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		connectionOf(c.Request()).collect()
		file.ServeHTTP(c.Response(), c.Request())
		return nil
	}
}

// collect makes the connection keep what the server writes until send. After a panic there is no send: the
// server closes the connection, and the client gets nothing of the response.
func (c *connection) collect() {
	if c != nil && c.collected == nil {
		c.collected = takeBuffer()
	}
}

// send sends what the connection has collected, and what the server still has in its own buffer. A response
// that fits into that buffer is left to the server.
func (c *connection) send(w http.ResponseWriter) {
	if c == nil || c.collected == nil {
		return
	}
	if c.collected.Len() > 0 {
		_ = http.NewResponseController(w).Flush() // into collected
		if _, err := c.Conn.Write(c.collected.Bytes()); err != nil {
			_ = c.Close() // the server does not know that the response is incomplete
		}
	}
	giveBack(c.collected)
	c.collected = nil
}
