package static

import (
	"bytes"
	"regexp"
)

var (
	cssComment = regexp.MustCompile(`(?s)/\*.*?\*/`)
	jsComment  = regexp.MustCompile(`(?m)^\s*//.*$`)
)

// trimmed drops what only those read who write a file: comments that stand on lines of
// their own, and indentation. No string of ours goes over several lines.
func trimmed(ext string, body []byte) []byte {
	switch ext {
	case ".css":
		body = cssComment.ReplaceAll(body, nil)
	case ".js":
		body = jsComment.ReplaceAll(body, nil)
	default:
		return body
	}
	var out []byte
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			out = append(append(out, line...), '\n')
		}
	}
	return out
}
