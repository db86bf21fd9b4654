package static

import (
	"bytes"
	"regexp"
)

var (
	cssComment = regexp.MustCompile(`(?s)/\*.*?\*/`)
	cssSpace   = regexp.MustCompile(`;?\s*([{}])\s*|([:;,])\s+`)
	jsComment  = regexp.MustCompile(`(?m)^\s*//.*$`)
)

// trimmed removes indentation, comments, and from a style sheet the space around punctuation. It does
// not parse: the sources must have no string that spans lines or contains such space, and comments of
// scripts must be on lines of their own.
func trimmed(ext string, body []byte) []byte {
	switch ext {
	case ".css":
		body = cssSpace.ReplaceAll(cssComment.ReplaceAll(body, nil), []byte("$1$2"))
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
