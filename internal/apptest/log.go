package apptest

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"sync"
)

// Log keeps what a program writes. It is safe for concurrent use.
type Log struct {
	mu        sync.Mutex
	text      bytes.Buffer
	listening chan listeningLine
}

// listeningLine is the line that announces the app.
type listeningLine struct {
	Msg    string `json:"msg"`
	URL    string `json:"url"`
	Issuer string `json:"issuer"`
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{listening: make(chan listeningLine, 1)} }

// Write appends to the log.
func (b *Log) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range bytes.Lines(p) {
		var l listeningLine
		if json.Unmarshal(line, &l) == nil && l.Msg == "listening" {
			b.listening <- l
		}
	}
	return b.text.Write(p)
}

// Count returns how many times the program has written a text.
func (b *Log) Count(text string) int { return strings.Count(b.String(), text) }

// String returns the whole log.
func (b *Log) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Logged returns the lines of the log that have a message, and belong to a request unless
// request is "".
func (a *App) Logged(message, request string) (lines []map[string]any) {
	a.T.Helper()
	for decoder := json.NewDecoder(strings.NewReader(a.Log.String())); ; {
		var line map[string]any
		err := decoder.Decode(&line)
		if err == io.EOF {
			return lines
		}
		if err != nil {
			a.T.Fatalf("the log is not a line of JSON per event: %v", err)
		}
		if line["msg"] == message && (request == "" || line["request"] == request) {
			lines = append(lines, line)
		}
	}
}
