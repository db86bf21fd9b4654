package scriptedop

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
)

// Status answers with a status and an empty JSON object.
func Status(status int) http.HandlerFunc { return Body(status, "application/json", "{}") }

// Body answers with the given body, unchanged.
func Body(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// JSON answers with a document encoded as JSON.
func JSON(status int, document any) http.HandlerFunc {
	return Body(status, "application/json", string(marshal(document)))
}

// Redirect answers with a redirect.
func Redirect(status int, location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	}
}

// Reset closes the connection instead of answering.
func Reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: the stream is reset
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// Hang does not answer until the client gives up.
func Hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// After answers when the channel released is closed, unless the client gives up first.
func After(released <-chan struct{}, answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-released:
			answer(w, r)
		case <-r.Context().Done():
		}
	}
}

// Barrier holds back the answers of an endpoint. The endpoint has already processed the
// requests.
type Barrier struct {
	// Reached is closed when the first answer is held back.
	Reached chan struct{}
	opened  chan struct{}
	first   sync.Once
}

// Open releases all answers.
func (b *Barrier) Open() { close(b.opened) }

// Hold puts a barrier behind an answer. The client may give up before the barrier opens.
func Hold(answer http.HandlerFunc) (http.HandlerFunc, *Barrier) {
	b := &Barrier{Reached: make(chan struct{}), opened: make(chan struct{})}
	return func(w http.ResponseWriter, r *http.Request) {
		done := httptest.NewRecorder()
		answer(done, r)
		b.first.Do(func() { close(b.Reached) })
		select {
		case <-b.opened:
		case <-r.Context().Done():
			return
		}
		maps.Copy(w.Header(), done.Header())
		w.WriteHeader(done.Code)
		_, _ = w.Write(done.Body.Bytes())
	}, b
}

// InTurn gives one answer after the other, and repeats the last one.
func InTurn(answers ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		answer := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		mu.Unlock()
		answer(w, r)
	}
}

// Stall sends the beginning of a JSON document, then nothing until the client gives up.
func Stall(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"issuer":`)
	_ = http.NewResponseController(w).Flush()
	Hang(w, r)
}

// Cut sends fewer bytes than its Content-Length.
func Cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `{"issuer":`)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// Endless sends a JSON document that does not end until the client gives up.
func Endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	_, err := io.WriteString(w, `{"endless":"`)
	for err == nil && r.Context().Err() == nil {
		_, err = w.Write(chunk)
	}
}

// GzipBomb sends a few kilobytes that decompress to the given number of megabytes of JSON.
func GzipBomb(megabytes int) http.HandlerFunc {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = io.WriteString(zip, `{"bomb":"`)
	for range megabytes {
		_, _ = zip.Write(bytes.Repeat([]byte("x"), 1<<20))
	}
	_, _ = io.WriteString(zip, `"}`)
	_ = zip.Close() // cannot fail: it writes to memory
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		Body(http.StatusOK, "application/json", packed.String())(w, r)
	}
}
