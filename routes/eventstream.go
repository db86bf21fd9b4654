package routes

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
)

const (
	// heartbeat keeps a proxy from taking a silent stream for a dead one.
	heartbeat = 15 * time.Second
	// streamWrite is how long a reader may take for an event: it is a line, which a
	// connection's own buffers hold many of.
	streamWrite = 5 * time.Second
	// firstReturn and lastReturn are when a browser whose stream has ended comes back; each
	// at another time, so that they do not all come at once when a program starts.
	firstReturn, lastReturn = time.Second, 3 * time.Second
)

// eventStream writes server-sent events. Nothing is queued: an event is sent or the stream
// is broken.
type eventStream struct {
	w       *echo.Response
	control *http.ResponseController
	written time.Time
	err     error
}

const eventStreamType = "text/event-stream; charset=utf-8"

// laterReturn is when a browser comes back whose stream has ended.
func laterReturn() time.Duration { return firstReturn + rand.N(lastReturn-firstReturn) }

// openStream begins the answer and says when to come back after its end. Each write has a deadline of its own, in place of the
// server's, which is for pages.
func openStream(c echo.Context, comeBack time.Duration) *eventStream {
	w := c.Response()
	h := w.Header()
	h.Set(echo.HeaderContentType, eventStreamType)
	h.Set(echo.HeaderCacheControl, "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no")
	s := &eventStream{w: w, control: http.NewResponseController(w)}
	s.write(fmt.Sprintf("retry: %d\n\n", comeBack.Milliseconds()))
	return s
}

// send sends an event. JSON has no line breaks, so its data is one line whatever it holds.
func (s *eventStream) send(event string, data any) {
	text, err := json.Marshal(data)
	if err != nil {
		s.err = err
		return
	}
	s.write("event: " + event + "\ndata: " + string(text) + "\n\n")
}

// part says that the session has ended, and why.
func (s *eventStream) part(cause authn.Cause) {
	s.send("signed-out", map[string]string{"because": partingWord(cause)})
}

// beat shows that the stream is alive, where nothing else has shown it for a while.
func (s *eventStream) beat() {
	if time.Since(s.written) >= heartbeat {
		s.write(":\n\n")
	}
}

// broken reports whether the reader has gone, or does not read.
func (s *eventStream) broken() bool { return s.err != nil }

func (s *eventStream) write(frame string) {
	if s.err != nil {
		return
	}
	s.written = time.Now()
	if s.err = s.control.SetWriteDeadline(s.written.Add(streamWrite)); s.err != nil {
		return
	}
	if _, s.err = s.w.Write([]byte(frame)); s.err != nil {
		return
	}
	s.err = s.control.Flush()
}
