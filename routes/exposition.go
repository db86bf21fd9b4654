package routes

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"latchkey/authn"
)

// exposition is an answer in Prometheus' text format.
type exposition struct {
	buf  bytes.Buffer
	name string // of the current family
}

// family begins a metric.
func (e *exposition) family(name, kind, help string) {
	e.name = name
	fmt.Fprintf(&e.buf, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// sample adds a value to the current family.
func (e *exposition) sample(labels string, value float64) { e.line("", labels, value) }

// counter is a whole family, without labels.
func (e *exposition) counter(name, help string, value uint64) {
	e.family(name, "counter", help)
	e.sample("", float64(value))
}

func (e *exposition) line(suffix, labels string, value float64) {
	e.buf.WriteString(e.name + suffix)
	if labels != "" {
		e.buf.WriteString("{" + labels + "}")
	}
	e.buf.WriteString(" " + number(value) + "\n")
}

// tallies adds what was counted to the current family, in the order of its labels.
func tallies[K comparable](e *exposition, tally *authn.Tally[K], labels func(K) string) {
	byLabels := make(map[string]uint64)
	for key, count := range tally.All() {
		byLabels[labels(key)] += count
	}
	for _, l := range slices.Sorted(maps.Keys(byLabels)) {
		e.sample(l, float64(byLabels[l]))
	}
}

// timings adds histograms to the current family, in the order of their labels.
func timings[K comparable](e *exposition, measured *authn.Timings[K], labels func(K) string) {
	byLabels := make(map[string]authn.Timing)
	for key, timing := range measured.All() {
		byLabels[labels(key)] = timing
	}
	bounds := authn.TimingBounds()
	for _, l := range slices.Sorted(maps.Keys(byLabels)) {
		timing, cumulated := byLabels[l], uint64(0)
		for i, bound := range bounds {
			cumulated += timing.Buckets[i]
			e.line("_bucket", l+`,le="`+number(bound)+`"`, float64(cumulated))
		}
		e.line("_bucket", l+`,le="+Inf"`, float64(timing.Count))
		e.line("_sum", l, timing.Seconds)
		e.line("_count", l, float64(timing.Count))
	}
}

// labels writes pairs of a name and a value.
func labels(pairs ...string) string {
	var list []string
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, pairs[i]+"="+strconv.Quote(pairs[i+1]))
	}
	return strings.Join(list, ",")
}

func number(value float64) string { return strconv.FormatFloat(value, 'g', -1, 64) }
