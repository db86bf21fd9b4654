package product

import (
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/examples/people/product/store"
	"latchkey/routes"
	"latchkey/views"
)

// account shows a person their account.
func (p *Product) account(c echo.Context) error {
	user, err := p.user(c)
	if err != nil {
		return err
	}
	return p.accountPage(c, http.StatusOK, user, nameField(user.Name))
}

func (p *Product) accountPage(c echo.Context, status int, user store.User, name views.Field) error {
	props := accountProps{User: user, Name: name, SeesEveryone: maySeeEveryone(c, user)}
	current := routes.Current(c).Identity
	for _, i := range user.Identities {
		props.SignIns = append(props.SignIns, signInProps{i.Name, i.Email, i.Issuer == current.Issuer && i.Subject == current.Subject})
	}
	return p.Render(c, status, accountView(p.Shell(c, "Account"), props))
}

// nameField is the field of a person's name.
func nameField(name string) views.Field {
	return views.Field{Name: "name", Label: "What we call you", Hint: "At most 60 characters.", Value: name}
}

// saved is what the page says after a name has been saved.
const saved = "Your name is saved."

// rename saves a person's name. htmx gets the form alone. Without htmx, the answer is a page: a redirect
// after success, so that a reload sends nothing twice.
func (p *Product) rename(c echo.Context) error {
	user, err := p.user(c)
	if err != nil {
		return err
	}
	name := nameField(strings.TrimSpace(c.FormValue("name")))
	htmx := routes.IsHTMX(c.Request())
	if name.Error = nameError(name.Value); name.Error != "" {
		if htmx {
			return p.Render(c, http.StatusUnprocessableEntity, nameForm(name))
		}
		return p.accountPage(c, http.StatusUnprocessableEntity, user, name)
	}
	if err := p.people.Rename(c.Request().Context(), user.ID, name.Value); err != nil {
		return err
	}
	if htmx {
		return p.Render(c, http.StatusOK, savedName(name))
	}
	p.Flash(c, saved)
	return c.Redirect(http.StatusSeeOther, "/account")
}

// maxName is how many characters a name may have.
const maxName = 60

// nameError returns what is wrong with a name and what to do, or "".
func nameError(name string) string {
	unseen := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case name == "":
		return "Enter a name."
	case utf8.RuneCountInString(name) > maxName:
		return "Enter a name of at most 60 characters."
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unseen):
		return "Enter a name without line breaks and control characters."
	default:
		return ""
	}
}

// administrator is the provider's role, which is in a claim.
func administrator() authn.Rule { return authn.Includes("https://latchkey.example/roles", "admin") }

// maySeeEveryone reports whether a person may see everyone, by the product's own role or by the
// provider's. The product's is read from the database for each request, so that a change counts at once.
// The provider's is in the claims of the session, so that a change counts after the next refresh.
func maySeeEveryone(c echo.Context, user store.User) bool {
	return user.Role == store.Manager || administrator().Met(routes.Current(c).Claims())
}

// everyone lists everyone to managers and administrators.
func (p *Product) everyone(c echo.Context) error {
	user, err := p.user(c)
	if err != nil {
		return err
	}
	if !maySeeEveryone(c, user) {
		return &authn.Refusal{
			Heading: "You don't have access", Text: "This page is for managers. An administrator can make you one.",
			Err: errors.New("the user is no manager, and the identity no administrator"),
		}
	}
	users, err := p.people.Users(c.Request().Context())
	if err != nil {
		return err
	}
	return p.Render(c, http.StatusOK, everyoneView(p.Shell(c, "People"), everyoneProps{
		Users: users, Appoints: administrator().Met(routes.Current(c).Claims()),
	}))
}

// setRole makes a person a manager or a member.
func (p *Product) setRole(c echo.Context) error {
	role := c.FormValue("role")
	if role != store.Manager && role != store.Member {
		return echo.ErrBadRequest
	}
	err := p.people.SetRole(c.Request().Context(), c.FormValue("user"), role)
	if err != nil && !errors.Is(err, store.ErrNoUser) { // the list no longer shows who was deleted
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/people")
}
