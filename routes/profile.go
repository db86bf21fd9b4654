package routes

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
)

// profile shows the profile card, and what the app has received from the provider: only the card to
// htmx, and a page to any other client.
func (a *App) profile(c echo.Context) error {
	s := current(c)
	if isHTMX(c.Request()) {
		return a.render(c, http.StatusOK, a.profileCard(s))
	}
	return a.render(c, http.StatusOK, views.Profile(a.shell(c, texts(c).Title.Profile), views.ProfilePageProps{Profile: a.profileProps(s), Received: receivedProps(texts(c), s)}))
}

// profileCard returns the profile card as it is between refreshes.
func (a *App) profileCard(s *authn.Session) component {
	return fragment(s, "profile", a.policy.Load(), func() component { return views.ProfileCard(a.profileProps(s)) })
}

// refreshProfile fetches the current profile from the provider. If that fails, the card keeps its
// data and says why.
func (a *App) refreshProfile(c echo.Context) error {
	r := c.Request()
	s := current(c)
	// The refresh goes on without the client anyway, for a limited time. A client that has closed only
	// its sending side still reads the result, and a refusal must be logged as one.
	refreshed, err := a.TokenSource.RefreshProfile(context.WithoutCancel(r.Context()), s)
	switch {
	case err == nil && isHTMX(r):
		props := a.profileProps(refreshed)
		props.JustRefreshed = true
		if props.Changes > 0 {
			return a.render(c, http.StatusOK, views.RefreshedProfile(props, claimsProps(texts(c), refreshed), receivedProps(texts(c), refreshed)))
		}
		return a.render(c, http.StatusOK, views.ProfileCard(props))
	case err == nil:
		return c.Redirect(http.StatusSeeOther, "/dashboard?refreshed")
	case openid.ReasonOf(err) == authn.ReasonSessionEnded:
		return a.noSession(c)
	case wantsJSON(r):
		return err
	}
	f := a.describe(texts(c), err)
	a.logFailure(c, f, err)
	f.retryAfter(c)
	failure := a.refreshFailure(c, f, err)
	if isHTMX(r) {
		return a.render(c, f.status, views.RefreshFailure(failure))
	}
	props := views.ProfilePageProps{Profile: a.profileProps(s), Received: receivedProps(texts(c), s), Failure: &failure}
	props.Profile.Changes = 0 // the card would speak of a refresh before this one
	return a.render(c, f.status, views.Profile(a.shell(c, texts(c).Title.Profile), props))
}

// refreshFailure returns the notice that the profile card shows above the old data. Its button
// tries again, or leads to a sign-in if only that helps.
func (a *App) refreshFailure(c echo.Context, f failure, err error) views.FailureProps {
	props := views.FailureProps{Heading: f.heading, Text: f.text, Reference: RequestOf(c.Request().Context()).ID}
	if action, ok := f.action(c, err); ok && f.remedy == signIn {
		props.Actions = []views.Action{action}
	} else {
		props.RetryForm = views.RefreshForm
	}
	return props
}

func (a *App) profileProps(s *authn.Session) views.ProfileProps {
	return views.ProfileProps{Person: a.person(s), Fetched: s.ProfileAt, Changes: len(s.Changes)}
}

// person returns the person whom a page shows.
func (a *App) person(s *authn.Session) views.Person {
	p, name := s.Identity.Profile, displayName(s)
	return views.Person{
		ID: s.PersonID(), Name: name, Email: p.Email, EmailVerified: p.EmailVerified,
		Picture: a.picture(p.Picture), Initials: Initials(name),
	}
}

// displayName returns what pages call a person: their name, or else their address, or else their
// subject.
func displayName(s *authn.Session) string {
	return cmp.Or(s.Identity.Profile.Name, s.Identity.Profile.Email, s.Identity.Subject)
}

// picture returns the address of a picture that pages may show, or "". Only the person's own
// browser loads it, and only from an origin that the Content-Security-Policy allows.
func (a *App) picture(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil {
		return ""
	}
	origin := u.Scheme + "://" + u.Host
	if slices.Contains(a.PictureOrigins, origin) {
		return raw
	}
	for _, rp := range a.RelyingParties.All() {
		if slices.Contains(rp.Provider().Origins(), origin) {
			return raw
		}
	}
	return ""
}
