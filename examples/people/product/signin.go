package product

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/examples/people/product/store"
)

// signIn is the sign-in hook. It finds the user of an identity, or creates one, and puts their ID into
// the session.
func (p *Product) signIn(ctx context.Context, arrival *authn.Arrival) error {
	if proof, ok := strings.CutPrefix(arrival.ReturnTo.String(), linkedPath); ok {
		return p.signInToLink(ctx, arrival, proof)
	}
	id, err := p.people.SignIn(ctx, identity(arrival), p.Now())
	if err != nil {
		return err
	}
	arrival.Values[userKey] = id
	return nil
}

// identity returns what the database keeps of an identity. A provider may put any text into a name.
func identity(arrival *authn.Arrival) store.Identity {
	i := arrival.Identity
	text := func(s string) string { return strings.Map(printable, strings.ToValidUTF8(s, "")) }
	name := text(i.Profile.Name)
	if name == "" {
		name = "New person"
	}
	return store.Identity{Issuer: i.Issuer, Subject: i.Subject, Name: name, Email: text(i.Profile.Email)}
}

// printable replaces a character that cannot be seen by a space. PostgreSQL refuses some of them.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}

// linkedPath is the way back from a sign-in that links an identity. A proof follows.
const linkedPath = "/account/linked/"

// linkTime is how old the sign-in of the person may be when they come back: up to ten minutes when they began
// to link, and then the time of a sign-in.
const linkTime = 30 * time.Minute

// link begins to link an identity: the person, who has signed in a moment ago, now signs in with the
// other account. The session keeps a proof that this is what they want, and the sign-in brings it back in
// its return path, which is sealed.
//
// Nothing else links an identity, and above all not the same e-mail address. Many providers say any
// address that a person types in, some say it is verified when it is not, and an address may be given to
// somebody else later. An attacker would open an account with the victim's address and find themselves in
// the victim's account; or they would open one before the victim, and wait for them to come.
func (p *Product) link(c echo.Context) error {
	values, err := p.Sessions.Get(c.Request(), "session")
	if err != nil {
		return err
	}
	proof := rand.Text()
	values.Values[linkKey] = proof
	if err := values.Save(c.Request(), c.Response()); err != nil {
		return err
	}
	return p.SwitchAccount(c, "Link another sign-in", "Sign in with the account that you want to add.", linkedPath+proof)
}

// notLinked refuses a sign-in that would link an identity.
func notLinked(status int, text string, err error) error {
	return &authn.Refusal{Status: status, Heading: "The sign-in was not linked", Text: text, Err: err}
}

// signInToLink links the identity to the user of the session that the browser has, if that session began
// this sign-in. The new session is that user's.
func (p *Product) signInToLink(ctx context.Context, arrival *authn.Arrival, proof string) error {
	const again = "It was not started here, or you have been signed out since. Start again on your account page."
	if arrival.Previous == nil {
		return notLinked(http.StatusForbidden, again, errors.New("no session began to link"))
	}
	values, err := arrival.Previous.Values()
	if err != nil {
		return err
	}
	if wanted, _ := values[linkKey].(string); wanted == "" || wanted != proof {
		return notLinked(http.StatusForbidden, again, errors.New("another session began to link, or none"))
	}
	// If the person gives up, the proof stays in the session.
	if recent := (openid.Demand{MaxAge: linkTime}); !recent.Met(arrival.Previous.Identity, p.Now()) {
		return notLinked(http.StatusForbidden, again, errors.New("the session began to link too long ago"))
	}
	id, _ := values[userKey].(string)
	switch err := p.people.Link(ctx, id, identity(arrival), p.Now()); {
	case errors.Is(err, store.ErrTaken):
		return notLinked(http.StatusConflict, "That sign-in has an account of its own here. Sign in with it and delete that account first.", err)
	case errors.Is(err, store.ErrNoUser):
		return notLinked(http.StatusConflict, "Your account has been deleted.", err)
	case err != nil:
		return err
	}
	arrival.Values[userKey], arrival.Values[linkKey], arrival.Values[linkedKey] = id, "", proof
	return nil
}

// linked is where a sign-in that has linked an identity returns to.
func (p *Product) linked(c echo.Context) error {
	values, err := p.Sessions.Get(c.Request(), "session")
	if err != nil {
		return err
	}
	if proof, ok := values.Values[linkedKey].(string); ok && proof == c.Param("proof") && c.Request().Method == http.MethodGet {
		delete(values.Values, linkedKey)
		if err := values.Save(c.Request(), c.Response()); err != nil {
			return err
		}
		p.Flash(c, "The sign-in is linked.")
	}
	return c.Redirect(http.StatusSeeOther, "/account")
}

// delete deletes a person's data and ends their sessions, whatever they signed in with.
func (p *Product) delete(c echo.Context) error {
	ctx := c.Request().Context()
	user, err := p.user(c)
	if err != nil {
		return err
	}
	known, err := p.people.Delete(ctx, user.ID)
	if err != nil {
		return err
	}
	for _, i := range known {
		if _, err := p.Sessions.EndPerson(ctx, i.Issuer, i.Subject); err != nil {
			return err // the sessions that are left find no user, and end at their next request
		}
	}
	return p.SignOut(c)
}
