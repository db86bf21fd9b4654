package views

import (
	"context"
	"io"
	"strings"
	"sync"

	"github.com/a-h/templ"

	"latchkey/views/messages"
)

// constants keeps the parts of pages that are the same for everybody who reads the same language.
type constants struct {
	html sync.Map // constantKey to string
}

type constantKey struct {
	texts *messages.Catalogue
	part  any
}

// Constant returns a part of a page that depends on the language and on key, a comparable value, and on
// nothing else. It renders the part once and keeps it for ever, so there must be few keys.
func (c *constants) Constant(key any, part templ.Component) templ.Component {
	return templ.ComponentFunc(func(ctx context.Context, w io.Writer) error {
		key := constantKey{messages.FromContext(ctx), key}
		html, ok := c.html.Load(key)
		if !ok {
			var b strings.Builder
			if err := part.Render(ctx, &b); err != nil {
				return err
			}
			html, _ = c.html.LoadOrStore(key, b.String())
		}
		_, err := io.WriteString(w, html.(string))
		return err
	})
}
