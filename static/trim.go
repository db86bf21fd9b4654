package static

import "bytes"

// trimmed removes what browsers do not need from a style sheet or a script. It does not parse: the
// sources must have no string that spans lines or has space next to punctuation. It keeps a comment of a
// script that follows code on its line.
func trimmed(ext string, body []byte) []byte {
	switch ext {
	case ".css":
		return trimmedCSS(body)
	case ".js":
		return trimmedJS(body)
	default:
		return body
	}
}

// trimmedCSS removes comments, and the space after punctuation and around braces.
func trimmedCSS(body []byte) (out []byte) {
	for len(body) > 0 {
		if bytes.HasPrefix(body, []byte("/*")) {
			_, body, _ = bytes.Cut(body, []byte("*/"))
			continue
		}
		c := body[0]
		body = body[1:]
		switch c {
		case ' ', '\t', '\n':
			if len(out) == 0 || bytes.IndexByte([]byte("{}:;, "), out[len(out)-1]) >= 0 {
				continue
			}
			c = ' '
		case '{', '}':
			out = bytes.TrimRight(out, " ;")
		}
		out = append(out, c)
	}
	return out
}

// trimmedJS removes indentation, and comments on lines of their own.
func trimmedJS(body []byte) (out []byte) {
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) > 0 && !bytes.HasPrefix(line, []byte("//")) {
			out = append(append(out, line...), '\n')
		}
	}
	return out
}
