package apptest

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Stream is the event stream of an open page.
type Stream struct {
	Response *http.Response
	// Events has all events and comments. It is closed at the end of the stream.
	Events chan Event

	t *testing.T
}

// Event is a server-sent event. A comment has neither a name nor data.
type Event struct {
	Name, Retry string
	Data        map[string]any
}

// Close leaves, as a closed tab does.
func (l *Stream) Close() { _ = l.Response.Body.Close() }

func (l *Stream) read() {
	defer close(l.Events)
	var e Event
	for lines := bufio.NewScanner(l.Response.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			l.Events <- e
			e = Event{}
		case field == "event" && e.Name == "":
			e.Name = value
		case field == "retry":
			e.Retry = value
		case field == "data" && e.Data == nil:
			if err := json.Unmarshal([]byte(value), &e.Data); err != nil {
				l.t.Errorf("the data %q: %v", value, err)
			}
		case field != "":
			l.t.Errorf("a line that no stream has: %q", lines.Text())
		}
	}
}

// Next waits for the next event. At the end of the stream its name is "".
func (l *Stream) Next() Event {
	l.t.Helper()
	for {
		select {
		case e, ok := <-l.Events:
			if ok && e.Name == "" {
				continue // a comment, or the first line
			}
			return e
		case <-time.After(Patience):
			l.t.Fatal("nothing comes, and the stream does not end")
		}
	}
}

// After waits for the next event that has another name.
func (l *Stream) After(name string) Event {
	l.t.Helper()
	for {
		if e := l.Next(); e.Name != name {
			return e
		}
	}
}

// Want waits for the next event, which must have a name, and returns its data.
func (l *Stream) Want(name string) map[string]any {
	l.t.Helper()
	got := l.Next()
	if got.Name != name {
		l.t.Fatalf("%q %v comes where %q should", got.Name, got.Data, name)
	}
	return got.Data
}

// WantEnd waits for the end of the stream. No event may come before it.
func (l *Stream) WantEnd() {
	l.t.Helper()
	l.Want("")
}
