package routes

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
	"latchkey/views/messages"
)

// dashboard shows a person what the app knows about them.
func (a *App) dashboard(c echo.Context) error {
	s := current(c)
	state := a.dashboardState(s)
	// A page with a flash message is shown once, and is not kept. Nor is one for htmx, whose request names
	// the page to return to.
	if c.Request().URL.RawQuery == "" && !s.HasFlashes() && !isHTMX(c.Request()) {
		return a.render(c, http.StatusOK, fragment(s, "dashboard", state, func() component {
			return views.Dashboard(a.shell(c, texts(c).Title.Dashboard), a.dashboardProps(texts(c), s, state))
		}))
	}
	props := a.dashboardProps(texts(c), s, state)
	if c.QueryParams().Has("refreshed") {
		profile := a.profileProps(s)
		profile.JustRefreshed = true
		props.Profile = views.ProfileCard(profile)
	}
	return a.render(c, http.StatusOK, views.Dashboard(a.shell(c, texts(c).Title.Dashboard), props))
}

// dashboardState is what the dashboard depends on, apart from the version of the session: its times,
// and the policy, which says where pictures may come from.
type dashboardState struct {
	idleUntil                 time.Time
	idleLeft, left, tokenLeft time.Duration
	policy                    *contentPolicy
}

func (a *App) dashboardState(s *authn.Session) dashboardState {
	now := a.Now()
	return dashboardState{
		idleUntil: s.IdleUntil, idleLeft: wholeMinutes(s.IdleUntil.Sub(now)), left: wholeMinutes(s.Expires.Sub(now)),
		tokenLeft: wholeMinutes(s.TokenExpires().Sub(now)), policy: a.policy.Load(),
	}
}

func (a *App) dashboardProps(t *messages.Catalogue, s *authn.Session, state dashboardState) views.DashboardProps {
	return views.DashboardProps{
		Name:       displayName(s),
		Profile:    a.profileCard(s),
		ManyClaims: len(s.Claims()) > manyClaims,
		Claims:     fragment(s, "claims", nil, func() component { return views.ClaimsCard(claimsProps(t, s), false) }),
		Session: views.SessionProps{
			SignedIn: s.Started, Expires: s.Expires, IdleUntil: s.IdleUntil, Issuer: s.Identity.Issuer,
			IdleLeft: state.idleLeft, Left: state.left,
		},
		Token: views.TokenProps{
			Audience: a.RelyingParties.Of(s.Identity.Issuer).Provider().Audience(), Scopes: s.Scopes(),
			Expires: s.TokenExpires(), Left: state.tokenLeft, Renewable: s.Renewable(),
		},
	}
}
