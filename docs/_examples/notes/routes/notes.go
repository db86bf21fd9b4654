package routes

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/views"
)

// notes shows a person's notes: only the card to htmx, and a page to any other client.
func (a *App) notes(c echo.Context) error {
	props := views.NotesProps{Name: a.person(current(c)).Name, Now: a.Now()}
	if isHTMX(c.Request()) {
		return a.render(c, http.StatusOK, views.NotesCard(props))
	}
	return a.render(c, http.StatusOK, views.Notes(a.shell(c, "Notes"), props))
}
