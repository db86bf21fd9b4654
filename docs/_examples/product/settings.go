package product

import (
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo-contrib/session"
	"github.com/labstack/echo/v4"

	"latchkey/views"
)

// settingsForm is the form of the settings, as it is saved or as a person has filled it in.
type settingsForm struct{ Nickname, Theme, News views.Field }

func newSettingsForm(nickname, theme, news string) settingsForm {
	return settingsForm{
		Nickname: views.Field{Name: "nickname", Label: "Nickname", Hint: "What we call you. At most 30 characters.", Value: nickname},
		Theme:    views.Field{Name: "theme", Label: "Theme", Value: theme},
		News:     views.Field{Name: "news", Label: "Send me news", Value: news, Optional: true},
	}
}

// themes are the themes to choose from.
var themes = []string{"Light", "Dark"}

// valid records the form's errors in its fields and reports whether there are none.
func (f *settingsForm) valid() bool {
	if n := utf8.RuneCountInString(f.Nickname.Value); n == 0 || n > 30 {
		f.Nickname.Error = "Enter a nickname of 1 to 30 characters."
	}
	if !slices.Contains(themes, f.Theme.Value) {
		f.Theme.Error = "Choose a theme."
	}
	return f.Nickname.Error == "" && f.Theme.Error == ""
}

// settings shows the settings that a person has saved in their session.
func (p *Product) settings(c echo.Context) error {
	s, err := session.Get("session", c)
	if err != nil {
		return err // the session store does not answer, or its values cannot be decoded
	}
	nickname, _ := s.Values["nickname"].(string)
	theme, _ := s.Values["theme"].(string)
	news, _ := s.Values["news"].(string)
	return p.Render(c, http.StatusOK, settingsPage(p.Shell(c, "Settings"), newSettingsForm(nickname, theme, news)))
}

// saveSettings saves the settings in the person's session. The next page says so.
func (p *Product) saveSettings(c echo.Context) error {
	form := newSettingsForm(strings.TrimSpace(c.FormValue("nickname")), c.FormValue("theme"), c.FormValue("news"))
	if !form.valid() {
		return p.Render(c, http.StatusUnprocessableEntity, settingsPage(p.Shell(c, "Settings"), form))
	}
	s, err := session.Get("session", c)
	if err != nil {
		return err
	}
	for _, field := range []views.Field{form.Nickname, form.Theme, form.News} {
		s.Values[field.Name] = field.Value
	}
	s.AddFlash("Your settings are saved.")
	if err := s.Save(c.Request(), c.Response()); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/settings")
}
