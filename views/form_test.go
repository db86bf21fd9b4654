package views_test

import (
	"strings"
	"testing"

	"golang.org/x/net/html"

	"latchkey/views"
)

// TestTextareaKeepsItsText reads a textarea as browsers do, which leave out a line break at its beginning.
func TestTextareaKeepsItsText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "one line", "\nthe first line is empty", "\n\ntwo are", "</textarea><b>&amp;"} {
		note := views.Field{Name: "note", Label: "Note", Value: text}
		page, err := html.Parse(strings.NewReader(render(t, views.FormSample(views.Shell{Assets: newAssets(t)}, views.FormSampleProps{Note: note}))))
		if err != nil {
			t.Fatal(err)
		}
		got, found := "", false
		for n := range page.Descendants() {
			if n.Type == html.ElementNode && n.Data == "textarea" {
				found = true
				for c := range n.ChildNodes() {
					got += c.Data
				}
			}
		}
		if !found || got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}
