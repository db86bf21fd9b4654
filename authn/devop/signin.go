package devop

import (
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

// cookieName is the provider's own: browsers send the cookies of one port of a host
// to all others too, and the application next door has a session cookie.
const cookieName = "devop_session"

// currentSession is who is signed in to the provider in this browser.
func (p *Provider) currentSession(r *http.Request) (session, bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return session{}, false
	}
	return p.records.session(cookie.Value)
}

// setCookie sets the session cookie; an empty value removes it. It is not Secure,
// as this provider has no https, and goes when the browser is closed.
func (p *Provider) setCookie(w http.ResponseWriter, value string) {
	cookie := &http.Cookie{Name: cookieName, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}

// who is the person signed in here, as pages show it; its Subject is "" for nobody.
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

// signIn takes the answer of the sign-in page: a person of the list, somebody else,
// or no.
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
		p.answerError(w, r, a, fail("access_denied", "the person said no"))
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
		p.refuse(w, r, "The provider knows nobody with this sub.")
		return
	}
	old := ""
	if cookie, err := r.Cookie(cookieName); err == nil {
		old = cookie.Value
	}
	started, cookie := p.records.startSession(old, subject)
	p.setCookie(w, cookie)
	p.answerCode(w, r, a, started)
}

// someoneElse is the form for a person who is not on the list, as it was typed,
// with an error by field.
type someoneElse struct {
	Name, Email, Claims string
	EmailVerified       bool
	Errors              map[string]string
}

// readSomeoneElse checks the form. The same e-mail is always the same subject.
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
		EmailVerified: form.EmailVerified, Claims: claims, Note: "Added here",
	}
}

// readClaims returns the claims of a JSON object, or what is wrong with it, in a sentence
// for the page.
func readClaims(raw string) (claims map[string]any, problem string) {
	if strings.TrimSpace(raw) == "" {
		return nil, ""
	}
	decoder := json.NewDecoder(strings.NewReader(raw))
	decoder.UseNumber()
	err := decoder.Decode(&claims)
	if _, trailing := decoder.Token(); err == nil && (!errors.Is(trailing, io.EOF) || claims == nil) {
		err = errors.New("one object is needed, and nothing after it")
	}
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		err = errors.New("it is JSON, and no object")
	}
	if err != nil {
		return nil, fmt.Sprintf(`Enter a JSON object, such as {"locale": "de"}. What is there now cannot be read: %v.`, err)
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
	People      []Person // the one of the login hint first
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
