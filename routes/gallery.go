//go:build !release

package routes

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

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

func (s sample) piece(width, theme string) views.GalleryPiece {
	query := url.Values{"group": {s.group}, "name": {s.name}, "width": {width}, "theme": {theme}}
	return views.GalleryPiece{
		Name: s.name, URL: galleryPath + "/" + url.PathEscape(s.group) + "/" + url.PathEscape(s.name),
		ViewURL: galleryPath + "?" + query.Encode(),
	}
}

// galleryWidths are the widths of a small phone, a phone, a tablet and a computer.
var galleryWidths = []string{"320", "390", "768", "1280"}

var galleryThemes = []string{"system", "light", "dark"}

// galleryIndex lists the pieces, or shows the one that the query names in a frame.
func (a *App) galleryIndex(c echo.Context) error {
	letFrame(c, "default-src 'none'", "default-src 'none'; frame-src 'self'")
	samples := a.samples(c)
	if c.QueryParams().Has("name") {
		return a.galleryView(c, samples)
	}
	var groups []views.GalleryGroup
	for _, s := range samples {
		if len(groups) == 0 || groups[len(groups)-1].Name != s.group {
			groups = append(groups, views.GalleryGroup{Name: s.group})
		}
		last := &groups[len(groups)-1]
		last.Pieces = append(last.Pieces, s.piece("1280", "system"))
	}
	groups = append(groups, views.GalleryGroup{Name: "development provider", Pieces: []views.GalleryPiece{
		{Name: "overview", URL: a.DevelopmentProvider + "/"},
		{Name: "sign in", URL: switchURL(parseReturnPath(galleryPath))},
		{Name: "sign out", URL: a.DevelopmentProvider + "/end_session"},
		{Name: "request refused", URL: a.DevelopmentProvider + "/authorize"},
	}})
	return a.render(c, http.StatusOK, views.Gallery(a.shell(c, "Gallery"), groups))
}

// galleryView shows one piece in a frame, with links to the same piece in other widths and themes and
// to its neighbours.
func (a *App) galleryView(c echo.Context, samples []sample) error {
	i := slices.IndexFunc(samples, func(s sample) bool { return s.group == c.QueryParam("group") && s.name == c.QueryParam("name") })
	width, theme := c.QueryParam("width"), c.QueryParam("theme")
	if i < 0 || !slices.Contains(galleryWidths, width) || !slices.Contains(galleryThemes, theme) {
		return echo.ErrNotFound
	}
	s := samples[i]
	props := views.GalleryViewProps{Group: s.group, Piece: s.piece(width, theme), Width: width, Theme: theme}
	if i > 0 {
		props.Previous = new(samples[i-1].piece(width, theme))
	}
	if i+1 < len(samples) {
		props.Next = new(samples[i+1].piece(width, theme))
	}
	for _, w := range galleryWidths {
		props.Widths = append(props.Widths, views.GalleryChoice{Label: w, URL: s.piece(w, theme).ViewURL, Current: w == width})
	}
	for _, t := range galleryThemes {
		props.Themes = append(props.Themes, views.GalleryChoice{Label: t, URL: s.piece(width, t).ViewURL, Current: t == theme})
	}
	return a.render(c, http.StatusOK, views.GalleryView(a.shell(c, s.name), props))
}

// letFrame changes a directive of the response's Content-Security-Policy.
func letFrame(c echo.Context, before, after string) {
	h := c.Response().Header()
	h["Content-Security-Policy"] = []string{strings.Replace(h.Get("Content-Security-Policy"), before, after, 1)}
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
			shell.Person, shell.Header = &person, views.Header(s.path, s.person.admin(), person, a.links(c.Request().Context(), s.person.session)...)
		}
		if c.Request().Header.Get("Sec-Fetch-Dest") == "iframe" {
			// The gallery frames its pieces. No other page of the app can be framed.
			letFrame(c, "frame-ancestors 'none'", "frame-ancestors 'self'")
			c.Response().Header().Set("X-Frame-Options", "SAMEORIGIN")
			shell.Process = "" // the gallery around it reloads itself
		}
		return a.render(c, http.StatusOK, s.page(shell))
	}
	return echo.ErrNotFound
}
