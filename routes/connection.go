package routes

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
)

// Listener returns a listener whose connections can send a page in one write. net/http sends a response
// that is longer than its buffer of 4 KB in two, which costs a cached page an eighth more. The server also
// needs [ConnContext].
func Listener(l net.Listener) net.Listener { return listener{l} }

// ConnContext is the ConnContext of an [http.Server], through which the app finds the connection of a request.
// Other handlers of such a server must not render pages: only [App.ServeHTTP] sends one.
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

// collect makes the connection keep what the server writes until the end of the request.
func (c *connection) collect() {
	if c != nil && c.collected == nil {
		c.collected = takeBuffer()
	}
}

// send sends what the connection has collected, and what the server still has in its own buffer.
func (c *connection) send(w http.ResponseWriter) {
	if c == nil || c.collected == nil {
		return
	}
	_ = http.NewResponseController(w).Flush() // into collected
	if _, err := c.Conn.Write(c.collected.Bytes()); err != nil {
		_ = c.Close() // the server does not know that the response is incomplete
	}
	c.forget()
}

// abandon closes a connection that has collected what it cannot send after a panic. Otherwise the server
// would send the rest of the page, which is in its own buffer.
func (c *connection) abandon() {
	if c == nil || c.collected == nil {
		return
	}
	_ = c.Close()
	c.forget()
}

// forget drops what the connection has collected.
func (c *connection) forget() {
	giveBack(c.collected)
	c.collected = nil
}
