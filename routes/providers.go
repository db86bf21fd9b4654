package routes

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
)

// Choice is how people choose one of several providers.
type Choice struct {
	// Name is that of the provider, and Label what its button says.
	Name, Label string
	// EmailDomains are the domains, in lower case, whose people sign in with this provider: a
	// login_hint with one of them chooses it.
	EmailDomains []string
}

// relyingPartyKey is the key, in Echo's context, of the relying party that a request is about.
const relyingPartyKey = "relying party"

func setRelyingParty(c echo.Context, rp *authn.RelyingParty) { c.Set(relyingPartyKey, rp) }

// issuer returns the issuer that a request is about, or "" if there are several providers and it is
// about none of them.
func (a *App) issuer(c echo.Context) string {
	if rp, ok := c.Get(relyingPartyKey).(*authn.RelyingParty); ok {
		return rp.Provider().Issuer()
	}
	if s := current(c); s != nil {
		return s.Identity.Issuer
	}
	if only := a.RelyingParties.Only(); only != nil {
		return only.Provider().Issuer()
	}
	return ""
}

// pick returns the relying party that a sign-in is for, or nil if the person has to choose one. If there
// are several, the first of these decides: the parameter iss of a sign-in that a provider started, which
// thirdPartyTarget has checked; the person's choice; the domain of login_hint; the current session.
func (a *App) pick(c echo.Context) *authn.RelyingParty {
	query := c.QueryParams()
	if only := a.RelyingParties.Only(); only != nil {
		return only
	}
	if query.Has("iss") {
		return a.RelyingParties.StartedBy(query.Get("iss"))
	}
	if rp := a.RelyingParties.Named(query.Get("provider")); rp != nil {
		return rp
	}
	if rp := a.RelyingParties.Named(a.providerOf(query.Get("login_hint"))); rp != nil {
		return rp
	}
	if s := current(c); s != nil && query.Get("switch") != "1" {
		return a.RelyingParties.Of(s.Identity.Issuer)
	}
	return nil
}

// providerOf returns the name of the provider that an e-mail address belongs to, or "".
func (a *App) providerOf(address string) string {
	domain := strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
	for _, choice := range a.Choices {
		if slices.Contains(choice.EmailDomains, domain) {
			return choice.Name
		}
	}
	return ""
}

// chooseProvider shows the providers, the one that was used last on this device first. Their links
// start the sign-in that was asked for.
func (a *App) chooseProvider(c echo.Context) error {
	if !authn.IsNavigation(c.Request()) {
		return &openid.Error{Reason: authn.ReasonNotNavigation}
	}
	props := views.ChooseProviderProps{}
	last := a.RelyingParties.Last(c.Request())
	for _, choice := range a.Choices {
		rp := a.RelyingParties.Named(choice.Name)
		link := maps.Clone(c.QueryParams())
		link.Del("again") // a restart goes to its provider, unless that is gone
		link.Set("provider", choice.Name)
		listed := views.ProviderChoice{
			Label: choice.Label, URL: "/login?" + url.Values(link).Encode(), Down: rp.Provider().Ready() != nil, Last: rp == last,
		}
		if listed.Last {
			props.Providers = slices.Insert(props.Providers, 0, listed)
		} else {
			props.Providers = append(props.Providers, listed)
		}
	}
	return a.render(c, http.StatusOK, views.ChooseProvider(a.shell(c, texts(c).Title.SignIn), props))
}
