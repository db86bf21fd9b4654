package routes

import (
	"net/http"

	"github.com/labstack/echo-contrib/session"
	"github.com/labstack/echo/v4"

	"latchkey/views"
)

// theme shows the theme that a person has chosen.
func (a *App) theme(c echo.Context) error {
	s, err := session.Get("session", c)
	if err != nil {
		return err // the session store does not answer
	}
	theme, _ := s.Values["theme"].(string)
	return a.render(c, http.StatusOK, views.Theme(a.shell(c, "Theme"), views.ThemeProps{Theme: theme}))
}

// chooseTheme saves a theme in the person's session. The next page says so.
func (a *App) chooseTheme(c echo.Context) error {
	s, err := session.Get("session", c)
	if err != nil {
		return err
	}
	s.Values["theme"] = c.FormValue("theme")
	s.AddFlash("Your theme is saved.")
	if err := s.Save(c.Request(), c.Response()); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/theme")
}
