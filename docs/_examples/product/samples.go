package product

import (
	"time"

	"github.com/a-h/templ"

	"latchkey/routes"
	"latchkey/views"
)

// samples returns the states of the product's pages for the gallery.
func samples() []routes.Sample {
	faulty := newSettingsForm("", "", "")
	faulty.valid()
	return []routes.Sample{
		{Group: "product", Name: "notes", Path: "/notes", Title: "Notes", Page: func(s views.Shell) templ.Component {
			return notesPage(s, notesProps{Name: s.Person.Name, Now: time.Now()})
		}},
		{Group: "product", Name: "settings with errors", Path: "/settings", Title: "Settings", Page: func(s views.Shell) templ.Component {
			return settingsPage(s, faulty)
		}},
		{Group: "product", Name: "orders", Path: "/orders", Title: "Orders", Page: func(s views.Shell) templ.Component {
			return ordersPage(s, []order{{Item: "Notebook", Count: 2}})
		}},
	}
}
