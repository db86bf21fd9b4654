package static

import (
	"strconv"
	"strings"
)

// accepts reports whether an Accept-Encoding header allows a content coding (RFC 9110 section 12.5.3):
// it gives the coding a weight above zero or, if it does not name it, "*". A client that names neither
// gets the plain encoding, which every client can read.
func accepts(header []string, coding string) bool {
	wildcard := false
	for _, field := range header {
		for item := range strings.SplitSeq(field, ",") {
			name, parameters, _ := strings.Cut(item, ";")
			switch strings.TrimPrefix(strings.ToLower(strings.TrimSpace(name)), "x-") {
			case coding:
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
