package routes

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
	"latchkey/views/messages"
)

// buffers holds buffers for reuse. A page is rendered completely before the first byte is sent, so
// that a view that fails becomes an error page and not half a page.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled is the largest buffer to reuse, so that one huge page does not occupy memory for ever.
const maxPooled = 256 << 10

// takeBuffer returns an empty buffer, to be given back.
func takeBuffer() *bytes.Buffer {
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	return buf
}

func giveBack(buf *bytes.Buffer) {
	if buf.Cap() <= maxPooled {
		buffers.Put(buf)
	}
}

// component is a page or part of a page.
type component = templ.Component

// render answers with a component: a whole page, or a fragment that htmx swaps in.
func (a *App) render(c echo.Context, status int, page component) error {
	buf := takeBuffer()
	defer giveBack(buf)
	// A component refuses to render once its context has ended, but the client may still read.
	if err := page.Render(context.WithoutCancel(c.Request().Context()), buf); err != nil {
		return err
	}
	w := c.Response()
	h := w.Header()
	inLanguage(c)
	h[echo.HeaderContentType] = []string{echo.MIMETextHTMLCharsetUTF8}
	h[echo.HeaderContentLength] = []string{strconv.Itoa(buf.Len())}
	w.WriteHeader(status)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	connectionOf(c.Request()).collect()
	_, err := w.Write(buf.Bytes())
	return err
}

// pageVary returns the headers of a request that decide what a page shows.
func pageVary() []string { return []string{"Cookie", "HX-Request", "Accept-Language"} }

// inLanguage says which language a response is in, and that it depends on the request.
func inLanguage(c echo.Context) {
	h := c.Response().Header()
	h["Content-Language"] = []string{texts(c).Language}
	if !slices.Contains(h["Vary"], "Accept-Language") {
		h["Vary"] = append(slices.Clip(h["Vary"]), "Accept-Language")
	}
}

// inTexts is the state of a fragment in one language.
type inTexts struct {
	texts *messages.Catalogue
	state any
}

// fragment returns a page or a part of one that is the same until the session, the state or the
// language changes, so that it is rendered once for each version of the session; see
// [authn.Session.Fragment].
func fragment(s *authn.Session, name string, state any, make func() component) component {
	return templ.ComponentFunc(func(ctx context.Context, w io.Writer) error {
		return s.Fragment(w, name, inTexts{messages.FromContext(ctx), state}, func(w io.Writer) error { return make().Render(ctx, w) })
	})
}

// NewAssets returns the assets in the colour of the brand.
func NewAssets() (*views.Assets, error) { return views.NewAssets(views.Colour) }

// frame returns the frame of a page, the same for every request.
func (a *App) frame(title string) views.Shell {
	return views.Shell{Assets: a.Assets, Title: title, ProviderURL: a.DevelopmentProvider, Process: a.process}
}

// shell returns the frame of a page with what it shows of a request: who is signed in, or the way there.
func (a *App) shell(c echo.Context, title string) views.Shell {
	shell := a.frame(title)
	s := current(c)
	if s == nil {
		shell.LoginURL = loginURL(returnPath(c.Request()))
		return shell
	}
	person, page := a.person(s), c.Path()
	shell.Person, shell.Notices = &person, a.takeFlashes(c)
	shell.Header = fragment(s, "header "+page, person, func() component {
		return views.Header(page, a.administrators().Met(s.Claims()), person, a.links(c.Request().Context(), s)...)
	})
	shell.EndsIn, shell.ReturnTo = s.IdleUntil.Sub(a.Now()), destination(returnPath(c.Request()))
	return shell
}

// wholeMinutes rounds a time to come up to minutes, so that a page that shows it stays the same for
// a minute. The last two minutes count in seconds.
func wholeMinutes(d time.Duration) time.Duration {
	if d < 2*time.Minute {
		return d
	}
	return (d + time.Minute - 1).Truncate(time.Minute)
}
