package app

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// listener is an open page's stream of events.
type listener struct {
	t      *testing.T
	resp   *http.Response
	events chan event // closed when the stream has ended
}

// event is a server-sent event with its data, or a comment, which has neither.
type event struct {
	name, retry string
	data        map[string]any
}

// listen opens a stream, which must be refused by none.
func (v *visitor) listen(headers ...string) *listener {
	v.t.Helper()
	resp := v.connect(headers...)
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		v.t.Fatalf("GET /events answers %d %s\n%s", resp.StatusCode, resp.Header.Get("Content-Type"), v.app.log)
	}
	l := &listener{t: v.t, resp: resp, events: make(chan event, 100)}
	go l.read()
	return l
}

// connect asks for a stream as a page of the app does. It is closed when the test ends.
func (v *visitor) connect(headers ...string) *http.Response {
	v.t.Helper()
	patient := *v.client
	patient.Timeout = 0
	headers = append([]string{"Accept", "text/event-stream", "Sec-Fetch-Site", "same-origin"}, headers...)
	resp, err := patient.Do(v.request(http.MethodGet, "/events", nil, headers...))
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// close leaves, as a page does that is closed.
func (l *listener) close() { _ = l.resp.Body.Close() }

func (l *listener) read() {
	defer close(l.events)
	var e event
	for lines := bufio.NewScanner(l.resp.Body); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			l.events <- e
			e = event{}
		case field == "event" && e.name == "":
			e.name = value
		case field == "retry":
			e.retry = value
		case field == "data" && e.data == nil:
			if err := json.Unmarshal([]byte(value), &e.data); err != nil {
				l.t.Errorf("the data %q: %v", value, err)
			}
		case field != "":
			l.t.Errorf("a line that no stream has: %q", lines.Text())
		}
	}
}

// next waits for the next event. Its name is "" where the stream has ended.
func (l *listener) next() event {
	l.t.Helper()
	for {
		select {
		case e, ok := <-l.events:
			if ok && e.name == "" {
				continue // a comment, or the first line
			}
			return e
		case <-time.After(patience):
			l.t.Fatal("nothing comes, and the stream does not end")
		}
	}
}

// after waits for the next event of another name.
func (l *listener) after(name string) event {
	l.t.Helper()
	for {
		if e := l.next(); e.name != name {
			return e
		}
	}
}

// want waits for the next event, which must be of a name, and returns its data.
func (l *listener) want(name string) map[string]any {
	l.t.Helper()
	got := l.next()
	if got.name != name {
		l.t.Fatalf("%q %v comes where %q should", got.name, got.data, name)
	}
	return got.data
}

// wantEnd waits for the end of the stream, before which nothing must come.
func (l *listener) wantEnd() {
	l.t.Helper()
	l.want("")
}
