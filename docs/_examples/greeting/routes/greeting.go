package routes

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/views"
	"latchkey/views/messages"
)

// greeting greets everyone in their language.
func (a *App) greeting(c echo.Context) error {
	title := messages.In(c.Request().Context(), views.GreetingTexts).Title
	return a.render(c, http.StatusOK, views.Greeting(a.shell(c, title)))
}
