package product

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/views/messages"
)

// greeting greets everyone in their language.
func (p *Product) greeting(c echo.Context) error {
	title := messages.In(c.Request().Context(), greetingTexts).Title
	return p.Render(c, http.StatusOK, greetingPage(p.Shell(c, title)))
}
