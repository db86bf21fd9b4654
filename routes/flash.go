package routes

import (
	"net/http"

	"github.com/labstack/echo-contrib/session"
	"github.com/labstack/echo/v4"
)

// flash keeps a sentence for the next page that the person opens, which shows it once above its
// content: call it before the redirect that answers a form. It is a flash message of gorilla's in the
// person's session, on the server. What the sentence reports has happened already, so a sentence that
// cannot be kept is only logged.
func (a *App) flash(c echo.Context, text string) {
	s, err := session.Get("session", c)
	if err == nil {
		s.AddFlash(text)
		err = s.Save(c.Request(), c.Response())
	}
	if err != nil {
		a.Log.WarnContext(c.Request().Context(), "flash message not kept", "error", err)
	}
}

// takeFlashes returns the sentences for this page, and removes them from the session. It is for whole
// pages only: a fragment that an open page fetches must not take what the next page is to say. A page
// whose route has no session middleware, such as that of a 404, leaves them to the next one.
//
// A page without flash messages, which is nearly every page, costs neither a decoding nor a write.
func (a *App) takeFlashes(c echo.Context) (texts []string) {
	if !current(c).HasFlashes() || c.Request().Method == http.MethodHead {
		return nil
	}
	s, err := session.Get("session", c)
	if err != nil {
		return nil
	}
	for _, flash := range s.Flashes() {
		if text, ok := flash.(string); ok {
			texts = append(texts, text)
		}
	}
	if err := s.Save(c.Request(), c.Response()); err != nil {
		a.Log.WarnContext(c.Request().Context(), "flash message not removed", "error", err)
	}
	return texts
}
