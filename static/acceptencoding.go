package static

import (
	"strconv"
	"strings"
)

// acceptsGzip reports whether an Accept-Encoding header allows gzip (RFC 9110 section 12.5.3): it
// gives gzip a weight above zero or, if it does not name gzip, "*". A client that names neither gets
// the plain encoding, which every client can read.
func acceptsGzip(header []string) bool {
	wildcard := false
	for _, field := range header {
		for item := range strings.SplitSeq(field, ",") {
			coding, parameters, _ := strings.Cut(item, ";")
			switch strings.ToLower(strings.TrimSpace(coding)) {
			case "gzip", "x-gzip":
				return weight(parameters) > 0
			case "*":
				wildcard = weight(parameters) > 0
			}
		}
	}
	return wildcard
}

// weight parses a parameter such as "q=0.5". A missing weight is 1. A malformed weight is 0, because
// the plain encoding is always right.
func weight(parameters string) float64 {
	parameters = strings.TrimSpace(parameters)
	if parameters == "" {
		return 1
	}
	name, value, _ := strings.Cut(parameters, "=")
	if !strings.EqualFold(strings.TrimSpace(name), "q") {
		return 0
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || q > 1 {
		return 0
	}
	return q
}
