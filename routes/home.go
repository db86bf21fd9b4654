package routes

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
)

// home shows the home page, which offers to sign in. By default it is also the page that the provider
// sends the browser back to after a sign-out. It then says that the person is signed out, and why.
func (a *App) home(c echo.Context) error {
	signedOut, atProvider := a.RelyingParties.First().Returned(c.Response(), c.Request())
	if current(c) != nil {
		return c.Redirect(http.StatusSeeOther, afterSignIn)
	}
	t := texts(c)
	title, props := t.Title.Welcome, views.HomeProps{LoginURL: loginURL(authn.ReturnPath{}), SignInDown: a.RelyingParties.Ready() != nil}
	if reason := t.Ended[because(a.Sessions.EndCause(c.Request()))]; signedOut || reason != "" {
		title, props.SignedOut = t.Title.SignedOut, &views.SignedOutProps{AtProvider: atProvider, Reason: reason}
	}
	shell := a.frame(title) // with nothing of this request: the next visitor gets the same page
	shell.LoginURL = props.LoginURL
	page := views.Home(shell, props)
	if props.SignedOut == nil { // every visitor sees the same
		page = a.Assets.Constant(homeKey{props.SignInDown}, page)
	}
	return a.render(c, http.StatusOK, page)
}

// homeKey is what the home page of a visitor depends on, apart from the language. If the home page shows
// anything else that depends on the request, add it here.
type homeKey struct{ signInDown bool }
