package product

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/routes"
)

// notes shows a person's notes: only the card to htmx, and a page to any other client.
func (p *Product) notes(c echo.Context) error {
	props := notesProps{Name: routes.Current(c).Identity.Profile.Name, Now: p.Now()}
	if routes.IsHTMX(c.Request()) {
		return p.Render(c, http.StatusOK, notesCard(props))
	}
	return p.Render(c, http.StatusOK, notesPage(p.Shell(c, "Notes"), props))
}
