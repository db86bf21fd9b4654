package routes

import (
	"bytes"
	"net/http"
	"strconv"
	"sync"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"latchkey/views"
)

// buffers holds buffers for reuse. A page is rendered completely before the first byte is sent, so
// that a view that fails becomes an error page and not half a page.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled is the largest buffer to reuse, so that one huge page does not occupy memory for ever.
const maxPooled = 256 << 10

// component is a page or part of a page.
type component = templ.Component

// render answers with a component: a whole page, or a fragment that htmx swaps in.
func (a *App) render(c echo.Context, status int, page component) error {
	buf := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxPooled {
			buffers.Put(buf)
		}
	}()
	buf.Reset()
	if err := page.Render(c.Request().Context(), buf); err != nil {
		return err
	}
	w := c.Response()
	h := w.Header()
	h[echo.HeaderContentType] = []string{echo.MIMETextHTMLCharsetUTF8}
	h[echo.HeaderContentLength] = []string{strconv.Itoa(buf.Len())}
	w.WriteHeader(status)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(buf.Bytes())
	return err
}

// shell returns what the frame of a page shows.
func (a *App) shell(c echo.Context, title string) views.Shell {
	shell := views.Shell{
		Assets: a.Assets, Title: title, Path: c.Request().URL.Path,
		ProviderURL: a.DevelopmentProvider, Process: a.process,
	}
	if s := current(c); s != nil {
		person := a.person(s)
		shell.Person, shell.Admin = &person, administrator().Met(s.Identity.Claims())
		shell.EndsIn, shell.ReturnTo = s.IdleUntil.Sub(a.Now()), destination(returnPath(c.Request()))
	}
	return shell
}
