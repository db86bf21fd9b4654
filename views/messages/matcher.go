package messages

import (
	"strings"
	"sync"

	"golang.org/x/text/language"
)

const (
	// maxHeader is the length, in bytes, up to which a request's languages count. Browsers send
	// less.
	maxHeader = 256
	// maxKnown bounds how many values of the header a Matcher remembers.
	maxKnown = 1000
)

// Matcher finds the catalogue for a reader. It remembers what it has found, because the same few
// values of the header come again and again, and to parse one takes longer than the rest of a small
// page. It is safe for concurrent use.
type Matcher struct {
	catalogues []*Catalogue
	matcher    language.Matcher
	mu         sync.RWMutex
	known      map[string]*Catalogue
}

// NewMatcher returns a Matcher for all languages.
func NewMatcher() *Matcher {
	m := &Matcher{catalogues: all(), known: make(map[string]*Catalogue)}
	var tags []language.Tag
	for _, c := range m.catalogues {
		tags = append(tags, c.tag)
	}
	m.matcher = language.NewMatcher(tags)
	return m
}

// Match returns the catalogue that suits the Accept-Language headers of a request best (RFC 9110
// section 12.5.4), which is the English one if none does.
func (m *Matcher) Match(accept []string) *Catalogue {
	header := strings.Join(accept, ",")
	if header == "" || len(header) > maxHeader {
		return m.catalogues[0]
	}
	m.mu.RLock()
	c := m.known[header]
	m.mu.RUnlock()
	if c != nil {
		return c
	}
	_, i := language.MatchStrings(m.matcher, header)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= maxKnown {
		clear(m.known)
	}
	m.known[strings.Clone(header)] = m.catalogues[i] // a header shares the memory of its request
	return m.catalogues[i]
}
