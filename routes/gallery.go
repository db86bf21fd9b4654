//go:build !release

package routes

import (
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"latchkey/views"
)

// galleryPath is where the gallery is.
const galleryPath = "/dev/gallery"

// sample is a page or a component in one state, as its person sees it, or as a visitor does if
// person is nil.
type sample struct {
	group, name string
	person      *samplePerson
	path        string // the page that the navigation marks as current
	title       string
	page        func(views.Shell) component
}

// gallery serves every page and component in every state, so that designers can work without
// signing in and tests can check them all. It exists only with the development provider: next to
// a real one, no page should show made-up data.
func (a *App) gallery() {
	if a.DevelopmentProvider == "" {
		return
	}
	a.echo.Match(reading, galleryPath, a.galleryIndex)
	a.echo.Match(reading, galleryPath+"/:group/:name", a.gallerySample)
}

func (s sample) url() string {
	return galleryPath + "/" + url.PathEscape(s.group) + "/" + url.PathEscape(s.name)
}

func (a *App) galleryIndex(c echo.Context) error {
	var groups []views.GalleryGroup
	for _, s := range a.samples(c) {
		if len(groups) == 0 || groups[len(groups)-1].Name != s.group {
			groups = append(groups, views.GalleryGroup{Name: s.group})
		}
		last := &groups[len(groups)-1]
		last.Pieces = append(last.Pieces, views.GalleryPiece{Name: s.name, URL: s.url()})
	}
	groups = append(groups, views.GalleryGroup{Name: "development provider", Pieces: []views.GalleryPiece{
		{Name: "overview", URL: a.DevelopmentProvider + "/"},
		{Name: "sign in", URL: switchURL(parseReturnPath(galleryPath))},
		{Name: "sign out", URL: a.DevelopmentProvider + "/end_session"},
		{Name: "request refused", URL: a.DevelopmentProvider + "/authorize"},
	}})
	return a.render(c, http.StatusOK, views.Gallery(a.shell(c, "Gallery"), groups))
}

// gallerySample shows one piece. A failure page has status 200 here, because the sample exists.
func (a *App) gallerySample(c echo.Context) error {
	// Echo does not unescape path parameters if the path was sent escaped.
	group, _ := url.PathUnescape(c.Param("group"))
	name, _ := url.PathUnescape(c.Param("name"))
	for _, s := range a.samples(c) {
		if s.group != group || s.name != name {
			continue
		}
		shell := a.shell(c, s.title)
		if s.person != nil {
			person := a.person(s.person.session)
			shell.Person, shell.Header = &person, views.Header(s.path, s.person.admin(), person)
		}
		return a.render(c, http.StatusOK, s.page(shell))
	}
	return echo.ErrNotFound
}
