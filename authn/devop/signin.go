package devop

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"net/url"
	"slices"
	"strings"
)

// cookieName returns the name of the session cookie. Browsers send a host's cookies to all of its
// ports, so it must differ from the application's and from those of other development providers.
func cookieName(issuer *url.URL) string { return "devop_session_" + cmp.Or(issuer.Port(), "80") }

// currentSession returns the session of the person who is signed in to the provider in this
// browser.
func (p *Provider) currentSession(r *http.Request) (session, bool) {
	cookie, err := r.Cookie(p.cookie)
	if err != nil {
		return session{}, false
	}
	return p.records.session(cookie.Value)
}

// setCookie sets the session cookie, or removes it if value is empty. The cookie lasts
// until the browser closes. It is not Secure, because this provider has no https.
func (p *Provider) setCookie(w http.ResponseWriter, value string) {
	cookie := &http.Cookie{Name: p.cookie, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}

// who returns the person who is signed in to the provider in this browser. Its Subject is
// "" if no one is.
func (p *Provider) who(r *http.Request) Person {
	current, ok := p.currentSession(r)
	if !ok {
		return Person{}
	}
	person, ok := p.records.person(current.Subject)
	if !ok {
		return Person{Subject: current.Subject}
	}
	return person
}

// signIn handles the forms of the sign-in page: a listed person, someone else, or a denial.
func (p *Provider) signIn(w http.ResponseWriter, r *http.Request) {
	values, err := readForm(r)
	if err = errors.Join(err, checkSingle(values)); err != nil {
		p.refuseForm(w, r, err)
		return
	}
	waiting, ok := p.records.request(values.Get("request"))
	a, reason := p.redirectTarget(waiting.Values)
	if !ok || reason != "" || p.readAuthorization(a) != nil {
		p.refuse(w, r, "This sign-in page has expired. Go back to the application and sign in again.")
		return
	}
	if values.Has("deny") {
		p.answerError(w, r, a, fail("access_denied", "the person denied the request"))
		return
	}
	subject := values.Get("sub")
	if !values.Has("sub") {
		form, person := readSomeoneElse(values)
		if len(form.Errors) > 0 {
			props := p.signInProps(values.Get("request"), a)
			props.SomeoneElse = form
			p.page(w, r, http.StatusUnprocessableEntity, signInPage(props))
			return
		}
		person.Picture = pictureURL(p.url("/picture/"), person.Subject)
		p.SetPerson(person)
		subject = person.Subject
	}
	if _, known := p.records.person(subject); !known {
		p.refuse(w, r, "There is no person with this sub.")
		return
	}
	old := ""
	if cookie, err := r.Cookie(p.cookie); err == nil {
		old = cookie.Value
	}
	started, cookie := p.records.startSession(old, subject)
	p.setCookie(w, cookie)
	p.answerCode(w, r, a, started)
}

// someoneElse is the form for a person who is not listed, as it was typed, with an error
// for each invalid field.
type someoneElse struct {
	Name, Email, Claims string
	EmailVerified       bool
	Errors              map[string]string
}

// readSomeoneElse checks the form. The same e-mail always gives the same subject.
func readSomeoneElse(v url.Values) (someoneElse, Person) {
	form := someoneElse{
		Name:          strings.TrimSpace(v.Get("name")),
		Email:         strings.TrimSpace(v.Get("email")),
		EmailVerified: v.Get("email_verified") != "",
		Claims:        v.Get("claims"),
		Errors:        make(map[string]string),
	}
	if address, err := mail.ParseAddress(form.Email); err != nil || address.Address != form.Email || len(form.Email) > 200 {
		form.Errors["email"] = "Enter one e-mail address of at most 200 characters, such as sam@example.test."
	}
	if len(form.Name) > 1000 {
		form.Errors["name"] = "Enter a name of at most 1,000 characters."
	}
	claims, problem := readClaims(form.Claims)
	if problem != "" {
		form.Errors["claims"] = problem
	}
	return form, Person{
		Subject: "dev|" + strings.ToLower(form.Email), Name: form.Name, Email: form.Email,
		EmailVerified: form.EmailVerified, Claims: claims, Note: "Added on this page",
	}
}

// readClaims returns the claims of a JSON object, or a sentence for the page that says what
// is wrong.
func readClaims(raw string) (claims map[string]any, problem string) {
	if strings.TrimSpace(raw) == "" {
		return nil, ""
	}
	decoder := json.NewDecoder(strings.NewReader(raw))
	decoder.UseNumber()
	err := decoder.Decode(&claims)
	if _, trailing := decoder.Token(); err == nil && (!errors.Is(trailing, io.EOF) || claims == nil) {
		err = errors.New("expected exactly one object")
	}
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		err = errors.New("expected an object")
	}
	if err != nil {
		return nil, fmt.Sprintf(`Enter a JSON object, such as {"locale": "de"}. The current text is invalid: %v.`, err)
	}
	for claim := range claims {
		if slices.Contains(protocolClaims(), claim) || slices.Contains([]string{"name", "email", "email_verified"}, claim) {
			return nil, fmt.Sprintf("Leave out %q: the provider or a field above sets it.", claim)
		}
	}
	return claims, ""
}

// signInProps is what the sign-in page shows.
type signInProps struct {
	Frame       frame
	Request     string
	ClientID    string
	Scope       []string
	People      []Person // the person of the login hint first
	Hinted      bool
	SomeoneElse someoneElse
}

func (p *Provider) signInProps(request string, a *authorization) signInProps {
	props := signInProps{Frame: p.frame(), Request: request, ClientID: a.client.ID, Scope: a.scope, People: p.records.everyone()}
	hint := a.values.Get("login_hint")
	if hint == "" {
		return props
	}
	i := slices.IndexFunc(props.People, func(person Person) bool {
		return person.Subject == hint || strings.EqualFold(person.Email, hint)
	})
	if i < 0 {
		props.SomeoneElse.Email = hint
		return props
	}
	hinted := props.People[i]
	props.People = slices.Insert(slices.Delete(props.People, i, i+1), 0, hinted)
	props.Hinted = true
	return props
}
