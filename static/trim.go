package static

import "bytes"

// trimmed removes what browsers do not need from a style sheet or a script. It does not parse: the
// sources must have no string that spans lines, has space next to punctuation, or has two slashes after a
// space.
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
func trimmedCSS(body []byte) []byte {
	out := make([]byte, 0, len(body))
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

// trimmedJS removes indentation, comments, and line breaks that end nothing.
func trimmedJS(body []byte) []byte {
	out := make([]byte, 0, len(body))
	for line := range bytes.Lines(body) {
		code, _, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" // "))
		if len(code) == 0 || bytes.HasPrefix(code, []byte("//")) {
			continue
		}
		out = append(out, code...)
		if bytes.IndexByte([]byte("{;,"), code[len(code)-1]) < 0 {
			out = append(out, '\n')
		}
	}
	return out
}
