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
	// heartbeat keeps proxies from closing a silent stream.
	heartbeat = 15 * time.Second
	// streamWrite is how long writing an event may take. An event is short, so it blocks only if
	// the buffers of the connection are full because nobody reads.
	streamWrite = 5 * time.Second
	// firstReturn and lastReturn bound the time after which a browser reconnects. Each browser gets
	// a random time between them, so that not all of them reconnect at once after a restart.
	firstReturn, lastReturn = time.Second, 3 * time.Second
)

// eventStream writes server-sent events. It queues nothing: an event is sent, or the stream is
// broken.
type eventStream struct {
	w       *echo.Response
	control *http.ResponseController
	written time.Time
	err     error
}

const eventStreamType = "text/event-stream; charset=utf-8"

// laterReturn returns the time after which a browser reconnects when its stream has ended.
func laterReturn() time.Duration { return firstReturn + rand.N(lastReturn-firstReturn) }

// openStream begins the response and says when to reconnect after its end. Each write sets its own
// deadline, because the server's deadlines are meant for pages.
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

// send sends an event. Its data is JSON, which needs no line break.
func (s *eventStream) send(event string, data any) {
	text, err := json.Marshal(data)
	if err != nil {
		s.err = err
		return
	}
	s.write("event: " + event + "\ndata: " + string(text) + "\n\n")
}

// sendSignedOut reports that the session has ended, and why.
func (s *eventStream) sendSignedOut(cause authn.Cause) {
	s.send("signed-out", map[string]string{"because": endReason(cause)})
}

// beat sends a comment if nothing else has been sent for a while.
func (s *eventStream) beat() {
	if time.Since(s.written) >= heartbeat {
		s.write(":\n\n")
	}
}

// broken reports whether a write has failed: the reader is gone or does not read.
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
	if s.err = s.control.Flush(); s.err != nil {
		return
	}
	// With HTTP/2, a deadline that passes later ends the stream, although nothing is being written.
	s.err = s.control.SetWriteDeadline(time.Time{})
}
