//go:build !release

package routes

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
	"latchkey/views/messages"
)

// samples returns all pieces of the gallery, group by group.
func (a *App) samples(c echo.Context) []sample {
	return slices.Concat(a.visitorSamples(c), a.dashboardSamples(c), a.profileSamples(c), a.deviceSamples(c),
		a.otherSamples(c), a.formSamples(), a.failureSamples(c), a.productSamples())
}

// productSamples returns the product's pages, as Ada sees them.
func (a *App) productSamples() (list []sample) {
	if a.Product.Samples == nil {
		return nil
	}
	ada := a.samplePeople()[0]
	for _, s := range a.Product.Samples() {
		list = append(list, sample{group: s.Group, name: s.Name, person: &ada, path: s.Path, title: s.Title, page: s.Page})
	}
	return list
}

func (a *App) visitorSamples(c echo.Context) []sample {
	list := []sample{
		{group: "home", name: "default", title: texts(c).Title.Welcome, page: func(s views.Shell) component {
			return views.Home(s, views.HomeProps{LoginURL: loginURL(authn.ReturnPath{})})
		}},
		{group: "home", name: "sign-in down", title: texts(c).Title.Welcome, page: func(s views.Shell) component {
			return views.Home(s, views.HomeProps{LoginURL: loginURL(authn.ReturnPath{}), SignInDown: true})
		}},
	}
	home := func(name string, props views.SignedOutProps) {
		list = append(list, sample{group: "home", name: name, title: texts(c).Title.SignedOut, page: func(s views.Shell) component {
			return views.Home(s, views.HomeProps{LoginURL: loginURL(authn.ReturnPath{}), SignedOut: &props})
		}})
	}
	home("signed out here", views.SignedOutProps{})
	home("signed out at the sign-in service too", views.SignedOutProps{AtProvider: true})
	home("signed out elsewhere", views.SignedOutProps{Reason: texts(c).Ended["elsewhere"]})
	choose := func(name string, providers ...views.ProviderChoice) {
		for i := range providers {
			providers[i].URL = "/login?provider=sample"
		}
		list = append(list, sample{group: "sign-in", name: name, title: texts(c).Title.SignIn, page: func(s views.Shell) component {
			return views.ChooseProvider(s, views.ChooseProviderProps{Providers: providers})
		}})
	}
	choose("choose a provider", views.ProviderChoice{Label: "Example Ltd"}, views.ProviderChoice{Label: "Google"}, views.ProviderChoice{Label: "id.example.com"})
	choose("one was used, one is down", views.ProviderChoice{Label: "Google", Last: true}, views.ProviderChoice{Label: "Example Ltd", Down: true})
	choose("long and foreign labels", views.ProviderChoice{Label: "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk", Last: true, Down: true}, views.ProviderChoice{Label: "شركة المثال"})
	signedOut := func(name string, props views.SignedOutProps) {
		props.LoginURL = loginURL(parseReturnPath("/profile"))
		list = append(list, sample{group: "signed out", name: name, title: texts(c).Title.SignedOut, page: func(s views.Shell) component {
			return views.SignedOut(s, props)
		}})
	}
	signedOut("here", views.SignedOutProps{})
	signedOut("at the sign-in service too", views.SignedOutProps{AtProvider: true})
	for _, because := range []string{"elsewhere", "provider", "refresh", "limit", "operator", "product", otherTab, expired} {
		signedOut("because "+because, views.SignedOutProps{Reason: texts(c).Ended[because]})
	}
	return append(list, sample{group: "signed out", name: "redirecting", title: texts(c).SignOut.Moving, page: func(s views.Shell) component {
		return views.MovingOn(s, views.MovingOnProps{
			Heading: texts(c).SignOut.Moving, Text: texts(c).SignOut.MovingText, URL: a.DevelopmentProvider + "/",
		})
	}})
}

func (a *App) dashboardSamples(c echo.Context) []sample {
	var list []sample
	for _, p := range a.samplePeople() {
		list = append(list, sample{group: "dashboard", name: p.name, person: &p, path: "/dashboard", title: texts(c).Title.Dashboard, page: func(s views.Shell) component {
			props := a.dashboardProps(texts(c), p.session, a.dashboardState(p.session))
			if p.name == "ada" {
				props.Token = views.TokenProps{
					Audience: "https://api.example.test/", Scopes: []string{"openid", "profile", "email", "offline_access", "read:notes"},
					Expires: a.Now().Add(53 * time.Minute), Left: 53 * time.Minute, Renewable: true,
				}
			}
			return views.Dashboard(s, props)
		}})
	}
	return list
}

func (a *App) profileSamples(c echo.Context) []sample {
	var list []sample
	add := func(name string, change func(*views.ProfilePageProps)) {
		p := a.samplePeople()[0]
		list = append(list, sample{group: "profile", name: name, person: &p, path: "/profile", title: texts(c).Title.Profile, page: func(s views.Shell) component {
			props := views.ProfilePageProps{Profile: a.profileProps(p.session), Received: receivedProps(texts(c), p.session)}
			change(&props)
			if props.Profile.Changes == 0 {
				props.Received.Changes = nil
			}
			return views.Profile(s, props)
		}})
	}
	add("after a change", func(*views.ProfilePageProps) {})
	add("default", func(p *views.ProfilePageProps) { p.Profile.Changes = 0 })
	add("up to date", func(p *views.ProfilePageProps) { p.Profile.Changes, p.Profile.JustRefreshed = 0, true })
	add("no userinfo", func(p *views.ProfilePageProps) { p.Profile.Changes, p.Received.UserInfo = 0, "" })
	add("no picture, no e-mail", func(p *views.ProfilePageProps) {
		p.Profile.Changes, p.Profile.Person.Picture, p.Profile.Person.Email = 0, "", ""
	})
	add("e-mail not verified", func(p *views.ProfilePageProps) { p.Profile.Changes, p.Profile.Person.EmailVerified = 0, false })
	for _, err := range refreshErrors() {
		f := a.describe(texts(c), err)
		add(a.describe(messages.English(), err).heading, func(p *views.ProfilePageProps) {
			failure := a.refreshFailure(c, f, err)
			p.Profile.Changes, p.Failure = 0, &failure
		})
	}
	return list
}

func (a *App) deviceSamples(c echo.Context) []sample {
	now, t := a.Now(), texts(c)
	seen := func(id, browser, system string, ago time.Duration) views.OwnSession {
		device := authn.Device{Browser: browser, System: system}
		return views.OwnSession{
			ID: id, Device: deviceName(t, device), Kind: string(device.Kind()), SignedIn: now.Add(-ago - 50*time.Hour), LastSeen: now.Add(-ago), Idle: ago,
			EndURL: "/sessions/" + id + "/end",
		}
	}
	here := seen("a", "Firefox", "Linux", 0)
	here.Current, here.Bound = true, true
	others := []views.OwnSession{
		seen("b", "Chrome", "Windows", time.Minute),
		seen("c", "Safari", "iPhone", 3*time.Hour),
		seen("d", "Chrome", authn.AndroidTablet, 26*time.Hour),
		seen("e", "", "", 100*time.Hour),
	}
	others[0].Bound = true
	ada := a.samplePeople()[0]
	device := func(name string, props views.SessionsProps) sample {
		return sample{group: "devices", name: name, person: &ada, path: "/sessions", title: t.Title.Devices, page: func(s views.Shell) component {
			return views.Sessions(s, props)
		}}
	}
	several := device("several", views.SessionsProps{Sessions: append([]views.OwnSession{here}, others...)})
	ended := device("one signed out", views.SessionsProps{Sessions: append([]views.OwnSession{here}, others[1:]...)})
	list := ended.page
	ended.page = func(s views.Shell) component {
		s.Notices = []string{t.Devices.Ended}
		return list(s)
	}
	return []sample{
		several, ended,
		device("only this one", views.SessionsProps{Sessions: []views.OwnSession{here}}),
		{group: "devices", name: "sign out all others?", person: &ada, title: t.Devices.EndOthers, page: func(s views.Shell) component {
			return views.ConfirmEndOthers(s)
		}},
	}
}

func (a *App) otherSamples(c echo.Context) []sample {
	ada, rosa, t := a.samplePeople()[0], a.samplePerson("roles"), texts(c)
	forbidden := &claimNeeded{administrator(), ada.session.Identity.Claims()}
	return []sample{
		{group: "session", name: "about to end, can be extended", person: &ada, title: "Warning", page: func(s views.Shell) component {
			return views.Fragment(s, views.SessionWarning(true, "2 min"))
		}},
		{group: "session", name: "about to end, cannot be extended", person: &ada, title: "Warning", page: func(s views.Shell) component {
			return views.Fragment(s, views.SessionWarning(false, "45 s"))
		}},
		{group: "session", name: "sign out?", person: &ada, path: "/logout", title: t.Title.SignOut, page: func(s views.Shell) component { return views.ConfirmSignOut(s) }},
		a.resumeSample(c, "resume", ada, pendingAction(t, "/sessions/end-others")),
		a.resumeSample(c, "resume, one device", ada, fmt.Sprintf(t.Resume.EndDevice, deviceName(t, authn.Device{Browser: "Firefox", System: "Linux"}))),
		a.resumeSample(c, "resume, without a name", ada, ""),
		{group: "admin", name: "operational", person: &rosa, path: "/admin", title: t.Title.Admin, page: func(s views.Shell) component {
			return views.Admin(s, views.AdminProps{Address: a.BaseURL.String(), Issuer: a.DevelopmentProvider})
		}},
		{group: "admin", name: "not responding", person: &rosa, path: "/admin", title: t.Title.Admin, page: func(s views.Shell) component {
			return views.Admin(s, views.AdminProps{Address: a.BaseURL.String(), Issuer: a.DevelopmentProvider, ProviderDown: true, StoreDown: true})
		}},
		{group: "admin", name: "forbidden", person: &ada, title: a.describe(t, forbidden).heading, page: func(s views.Shell) component {
			return views.Forbidden(s, a.forbiddenProps(c, a.describe(texts(c), forbidden), forbidden, a.person(ada.session)))
		}},
		{group: "admin", name: "forbidden, inside a page", person: &ada, title: "Fragment", page: func(s views.Shell) component {
			return views.Fragment(s, views.ForbiddenNotice(a.forbiddenProps(c, a.describe(texts(c), forbidden), forbidden, a.person(ada.session))))
		}},
	}
}

func (a *App) resumeSample(c echo.Context, name string, person samplePerson, pending string) sample {
	props := views.ResumeProps{Pending: pending, Path: "/notes/1/delete", URL: "/resume/sample"}
	return sample{group: "session", name: name, person: &person, title: props.Heading(texts(c)), page: func(s views.Shell) component {
		return views.Resume(s, props)
	}}
}

// formSamples returns a form in each state, and a table.
func (a *App) formSamples() []sample {
	ada := a.samplePeople()[0]
	form := func(name string, change func(*views.FormSampleProps)) sample {
		props := views.FormSampleProps{
			Name:  views.Field{Name: "name", Label: "Name"},
			Email: views.Field{Name: "email", Label: "E-mail address", Hint: "We write to you only about your team."},
			Team:  views.Field{Name: "team", Label: "Team"},
			Note:  views.Field{Name: "note", Label: "What should the team know?", Hint: "At most 200 characters.", Optional: true},
			News:  views.Field{Name: "news", Label: "Send me the news of the team", Optional: true},
		}
		change(&props)
		return sample{group: "form", name: name, person: &ada, title: "Join a team", page: func(s views.Shell) component {
			return views.FormSample(s, props)
		}}
	}
	fill := func(p *views.FormSampleProps) {
		p.Name.Value, p.Email.Value, p.Team.Value, p.Note.Value, p.News.Value = "Ada Lovelace", "ada@example.com", "Engines", "I write notes.\nLong ones.", "on"
	}
	return []sample{
		form("empty", func(*views.FormSampleProps) {}),
		form("filled", fill),
		form("with errors", func(p *views.FormSampleProps) {
			p.Email.Value, p.Note.Value = "ada", strings.Repeat("I write notes. ", 20)
			p.Name.Error, p.Email.Error, p.Team.Error = "Enter your name.", "Enter an address with an @, such as name@example.com.", "Choose a team."
			p.Note.Error, p.News.Error = "Write at most 200 characters.", "Tick the box: the team has no other way to reach you."
		}),
		form("disabled", func(p *views.FormSampleProps) {
			fill(p)
			p.Disabled = true
		}),
		{group: "form", name: "table", person: &ada, title: "Teams", page: func(s views.Shell) component { return views.TableSample(s) }},
	}
}

// failureSamples returns the page of every failure in failures.go, and one failure inside a page.
func (a *App) failureSamples(c echo.Context) []sample {
	var list []sample
	ada := a.samplePeople()[0]
	for i, e := range a.sampleErrors() {
		f := a.describe(texts(c), e.err)
		s := sample{group: "failure", name: e.name, title: f.heading, page: func(s views.Shell) component {
			return views.Failure(s, a.failureProps(c, f, e.err))
		}}
		if i%2 == 1 {
			s.person = &ada // the header differs for a person who is signed in
		}
		list = append(list, s)
	}
	inside := echo.NewHTTPError(http.StatusNotFound)
	return append(list, sample{group: "failure", name: "inside a page", person: &ada, title: "Fragment", page: func(s views.Shell) component {
		return views.Fragment(s, views.FailureNotice(a.failureProps(c, a.describe(texts(c), inside), inside)))
	}})
}

// sampleError is an error under the name that the gallery gives it.
type sampleError struct {
	name string
	err  error
}

// sampleErrors returns an error for every page in failures.go that says something of its own.
func (a *App) sampleErrors() []sampleError {
	list := []sampleError{
		{"sign in first", authn.ErrAnonymous},
		{"another host", errWrongHost},
		{"another site", errCrossOrigin},
		{"no cookies", errNoCookies},
		{"another issuer", errOtherIssuer},
		{"another target", errOtherTarget},
		{"nothing saved", errNoSavedRequest},
		{"a form too large to keep", authn.ErrRequestTooLarge},
		{"too many open pages", authn.ErrTooManyWatchers},
		{"a part that is not data", errNotData},
		{"too many sign-ins", tooManyRequests(time.Minute)},
		{"too many sign-ins of a person", tooManySignIns(time.Minute)},
		{"our fault", errPanic},
	}
	for _, status := range []int{
		http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge,
		http.StatusRequestURITooLong, http.StatusUnsupportedMediaType, http.StatusTeapot,
	} {
		list = append(list, sampleError{http.StatusText(status), echo.NewHTTPError(status)})
	}
	for _, code := range []string{"access_denied", "user_cancelled_authorize", "an_unknown_code", "login_required", "temporarily_unavailable", "invalid_scope"} {
		list = append(list, sampleError{"declined " + code, &openid.Error{Reason: openid.ReasonDeclined, Code: code}})
	}
	for _, reason := range []openid.Reason{
		openid.ReasonResponseMalformed, openid.ReasonResponseInvalid, authn.ReasonTransactionMissing, authn.ReasonTransactionExpired, authn.ReasonTransactionUsed,
		authn.ReasonConfigurationChanged, authn.ReasonTooManySignIns, openid.ReasonIssuerMismatch, openid.ReasonProviderUnreachable, openid.ReasonProviderMisconfigured,
		openid.ReasonTokenRequestFailed, openid.ReasonTokenInvalid, openid.ReasonIDTokenInvalid, openid.ReasonStepUpFailed,
		openid.ReasonUserInfoFailed, openid.ReasonUserInfoMismatch, openid.ReasonUserInfoRequired, openid.ReasonTooLarge,
		authn.ReasonSessionEnded, authn.ReasonRefreshRefused, authn.ReasonRefreshFailed, authn.ReasonStoreUnavailable, authn.ReasonNotNavigation,
		authn.ReasonHookFailed, openid.ReasonOtherTenant, openid.ReasonAPIRefused,
	} {
		list = append(list, sampleError{string(reason), &authn.SignInError{ReturnTo: parseReturnPath("/profile"), Err: &openid.Error{Reason: reason}}})
	}
	refusal := &authn.Refusal{Heading: "Your team has no seat for you", Text: "Ask the owner of your team for a seat, and try again."}
	return append(list, sampleError{string(authn.ReasonRefused), &authn.SignInError{
		ReturnTo: parseReturnPath("/profile"), Err: &openid.Error{Reason: authn.ReasonRefused, Err: refusal},
	}})
}

// refreshErrors returns an error for every notice of the profile card.
func refreshErrors() []error {
	return []error{
		&authn.TooSoonError{Wait: 42 * time.Second},
		&openid.Error{Reason: openid.ReasonProviderUnreachable},
		&openid.Error{Reason: authn.ReasonRefreshRefused},
		&openid.Error{Reason: authn.ReasonRefreshFailed, Err: errors.New("sample")},
	}
}
