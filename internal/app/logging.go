package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/routes"
)

// maxLogged bounds a text in the log, in bytes.
const maxLogged = 4 << 10

// newLogger logs to the program's output: as text if a person reads it, else as JSON in
// UTC. Lines for a file or a pipe are written together; see logBuffer. It also writes the security
// events to events, unless that is nil, always as JSON and at once.
func newLogger(cfg *Config, stdout io.Writer, events *os.File) *slog.Logger {
	if file, ok := stdout.(*os.File); ok && !isTerminal(file) {
		stdout = &logBuffer{out: file}
	}
	options := &slog.HandlerOptions{Level: cfg.LogLevel, ReplaceAttr: tidy}
	var handler slog.Handler = slog.NewJSONHandler(stdout, options)
	if cfg.readable(stdout) {
		options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.String(a.Key, a.Value.Time().Format("15:04:05.000"))
			}
			return tidy(groups, a)
		}
		handler = slog.NewTextHandler(stdout, options)
	}
	h := requestHandler{Handler: handler, out: stdout}
	if events != nil {
		h.events = slog.NewJSONHandler(&eventLines{out: events}, &slog.HandlerOptions{ReplaceAttr: tidy})
	}
	return slog.New(h)
}

// eventVersion is the version of the form of security events: their names, and the names and meanings
// of their attributes. It grows if one is removed or changes.
const eventVersion = 1

// openEvents opens the file or the descriptor that LOG_EVENTS names, for as long as the process lives. It
// returns nil without LOG_EVENTS.
func (c *Config) openEvents() (file *os.File, err error) {
	switch n, isDescriptor, _ := c.eventsDescriptor(); {
	case c.LogEvents == "":
		return nil, nil
	case isDescriptor && n == 1:
		return os.Stdout, nil
	case isDescriptor && n == 2:
		return os.Stderr, nil
	case isDescriptor:
		file = os.NewFile(uintptr(n), c.LogEvents)
		_, err = file.Stat()
	default:
		file, err = os.OpenFile(c.LogEvents, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: LOG_EVENTS: %w; name a file that this user may write, or a descriptor that is open", ErrConfiguration, err)
	}
	return file, nil
}

// eventsDescriptor returns the number in LOG_EVENTS, and whether it is in the form of one.
func (c *Config) eventsDescriptor() (n uint64, isDescriptor bool, err error) {
	text, isDescriptor := strings.CutPrefix(c.LogEvents, "fd:")
	if isDescriptor {
		n, err = strconv.ParseUint(text, 10, 16)
	}
	return n, isDescriptor, err
}

// readable reports whether a person reads the output.
func (c *Config) readable(stdout io.Writer) bool {
	if c.LogFormat != "" {
		return c.LogFormat == "text"
	}
	return isTerminal(stdout)
}

// isTerminal reports whether the output is a terminal.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// tidy makes untrusted text harmless to read: it escapes control characters and those that
// change the direction of writing, and truncates long values.
func tidy(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindTime:
		return slog.Time(a.Key, a.Value.Time().UTC())
	case slog.KindString:
		if text := a.Value.String(); !plain(text) {
			return slog.String(a.Key, harmless(text))
		}
	case slog.KindAny:
		switch value := a.Value.Any().(type) {
		case slog.Level:
			return slog.String(a.Key, value.String()) // otherwise the handlers would marshal it
		case time.Time, *slog.Source:
		case error:
			return slog.String(a.Key, harmless(value.Error()))
		case fmt.Stringer:
			return slog.String(a.Key, harmless(value.String()))
		}
	}
	return a
}

// plain reports whether a text can be logged unchanged. Most can.
func plain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return len(text) <= maxLogged
}

func harmless(text string) string {
	cut := ""
	if len(text) > maxLogged {
		end := maxLogged
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text, cut = text[:end], "… "+strconv.Itoa(len(text)-end)+" bytes more"
	}
	var out strings.Builder
	for _, r := range text {
		// The handlers escape line breaks. A stack has many.
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			out.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		out.WriteString(quoted[1 : len(quoted)-1])
	}
	return out.String() + cut
}

// requestHandler adds the request to each line, so that the reference on an error page
// finds all of them. It writes security events to a second handler, too.
type requestHandler struct {
	slog.Handler
	out    io.Writer
	events slog.Handler // nil if the log alone has them
}

// Enabled implements slog.Handler. The second handler has the events that LOG_LEVEL keeps out of the
// log.
func (h requestHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.Handler.Enabled(ctx, level) || h.events != nil && h.events.Enabled(ctx, level)
}

func (h requestHandler) Handle(ctx context.Context, record slog.Record) error {
	isEvent := false
	record.Attrs(func(a slog.Attr) bool {
		if a.Key == "event" && a.Value.Kind() == slog.KindAny {
			_, isEvent = a.Value.Any().(authn.Event)
		}
		return !isEvent
	})
	if isEvent {
		record.AddAttrs(slog.Int("event_version", eventVersion))
	}
	if request := routes.RequestOf(ctx); request.ID != "" {
		record.AddAttrs(slog.String("client", request.Client), slog.String("request", request.ID))
		if request.Operator != "" {
			record.AddAttrs(slog.String("operator", request.Operator))
		}
	}
	if trace := openid.TraceFrom(ctx); trace.ID() != "" {
		record.AddAttrs(slog.String("trace_id", trace.ID()))
	}
	var err error
	if isEvent && h.events != nil {
		if err = h.events.Handle(ctx, record); err != nil {
			failed := slog.NewRecord(record.Time, slog.LevelError, "security event not written", 0)
			failed.AddAttrs(slog.Any("error", err))
			err = errors.Join(err, h.Handler.Handle(ctx, failed))
		}
	}
	if !h.Handler.Enabled(ctx, record.Level) {
		return err
	}
	err = errors.Join(err, h.Handler.Handle(ctx, record))
	if buffer, ok := h.out.(*logBuffer); ok && record.Level > slog.LevelInfo {
		err = errors.Join(err, buffer.flush())
	}
	return err
}

func (h requestHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(attrs)
	if h.events != nil {
		h.events = h.events.WithAttrs(attrs)
	}
	return h
}

func (h requestHandler) WithGroup(name string) slog.Handler {
	h.Handler = h.Handler.WithGroup(name)
	if h.events != nil {
		h.events = h.events.WithGroup(name)
	}
	return h
}

// flushLog writes the lines that a logger still holds.
func flushLog(log *slog.Logger) {
	if h, ok := log.Handler().(requestHandler); ok {
		if buffer, ok := h.out.(*logBuffer); ok {
			_ = buffer.flush() // nobody is left to tell
		}
	}
}

// eventLines begins another line after one of which only a part could be written, as on a full disk, so
// that the event after that is not lost with it. The handler calls Write for one line at a time.
type eventLines struct {
	out  io.Writer
	torn bool
}

// Write implements io.Writer.
func (e *eventLines) Write(line []byte) (int, error) {
	if e.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := e.out.Write(line)
	e.torn = err != nil && (e.torn || n > 0)
	return n, err
}

const (
	// logDelay is how long a line at level INFO or DEBUG waits for others. A line at a higher
	// level is written at once, with those before it.
	logDelay = 100 * time.Millisecond
	// maxLogBuffer is how many bytes wait at most.
	maxLogBuffer = 64 << 10
)

// logBuffer writes lines together, so that a request does not wait for the file system.
type logBuffer struct {
	mu    sync.Mutex
	out   io.Writer
	lines []byte
	// waiting says that a flush is due within logDelay.
	waiting bool
}

// Write implements io.Writer.
func (b *logBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line...)
	if len(b.lines) > maxLogBuffer {
		return len(line), b.write()
	}
	if !b.waiting {
		b.waiting = true
		time.AfterFunc(logDelay, func() { _ = b.flush() })
	}
	return len(line), nil
}

func (b *logBuffer) flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = false
	return b.write()
}

// write writes the lines. What a failed write leaves is tried again with the next one. The caller
// holds the lock.
func (b *logBuffer) write() error {
	if len(b.lines) == 0 {
		return nil
	}
	n, err := b.out.Write(b.lines)
	b.lines = append(b.lines[:0], b.lines[n:]...)
	if len(b.lines) > maxLogBuffer {
		b.lines = b.lines[:0] // nobody reads the log
	}
	return err
}
