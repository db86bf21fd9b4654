//go:build !release

package routes

import "latchkey/views"

// noteSamples returns the states of the notes page for the gallery.
func (a *App) noteSamples() []sample {
	ada := a.samplePeople()[0]
	return []sample{{group: "notes", name: "default", person: &ada, path: "/notes", title: "Notes", page: func(s views.Shell) component {
		return views.Notes(s, views.NotesProps{Name: s.Person.Name, Now: a.Now()})
	}}}
}
