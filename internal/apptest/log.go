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
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for text := range bytes.Lines(p) {
		var line listeningLine
		if json.Unmarshal(text, &line) == nil && line.Msg == "listening" {
			l.listening <- line
		}
	}
	return l.text.Write(p)
}

// Count returns how many times the program has written a text.
func (l *Log) Count(text string) int { return strings.Count(l.String(), text) }

// String returns the whole log.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
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
