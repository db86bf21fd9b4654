package devop

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Person is someone who can sign in at the provider.
type Person struct {
	// Subject is the sub claim.
	Subject string
	// Name, Email and Picture are omitted from the claims if empty.
	Name, Email   string
	EmailVerified bool
	Picture       string
	// Claims are additional claims. Standard claims are released with their scope. All
	// others, such as "https://app.example/roles", are always released. They cannot replace
	// a protocol claim, such as iss, or a field above.
	Claims map[string]any
	// Note describes the person on the sign-in page.
	Note string
}

// scopeClaims maps each scope to the standard claims that it requests (OpenID Connect Core
// 1.0 section 5.4).
func scopeClaims() map[string][]string {
	return map[string][]string{
		"profile": {
			"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile",
			"picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at",
		},
		"email":   {"email", "email_verified"},
		"address": {"address"},
		"phone":   {"phone_number", "phone_number_verified"},
	}
}

// protocolClaims lists the claims that only the provider sets.
func protocolClaims() []string {
	return []string{
		"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "auth_time", "nonce", "acr", "amr", "azp",
		"at_hash", "c_hash", "s_hash", "sid", "events", "cnf", "client_id", "scope",
	}
}

func supportedScopes() []string {
	return []string{"openid", "profile", "email", "address", "phone", "offline_access"}
}

func supportedClaims() []string {
	claims := []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash", "sid"}
	for _, scope := range supportedScopes() {
		claims = append(claims, scopeClaims()[scope]...)
	}
	return claims
}

// claims returns the claims that a client with the given scope may see. The caller owns the
// map but not its values.
func (person Person) claims(scope []string) map[string]any {
	scopeOf := make(map[string]string)
	for name, claims := range scopeClaims() {
		for _, claim := range claims {
			scopeOf[claim] = name
		}
	}
	claims := make(map[string]any)
	add := func(claim string, value any) {
		if asked := scopeOf[claim]; asked == "" || slices.Contains(scope, asked) {
			claims[claim] = value
		}
	}
	for claim, value := range person.Claims {
		if !slices.Contains(protocolClaims(), claim) {
			add(claim, value)
		}
	}
	for claim, value := range map[string]string{"name": person.Name, "email": person.Email, "picture": person.Picture} {
		if value != "" {
			add(claim, value)
		}
	}
	if person.Email != "" {
		add("email_verified", person.EmailVerified)
	}
	claims["sub"] = person.Subject
	return claims
}

// SetPerson adds a person, or replaces the one with the same subject. It logs and ignores a
// person who has no subject or whose claims cannot be encoded as JSON.
func (p *Provider) SetPerson(person Person) {
	// The JSON round trip makes a private copy, identical to what a restart would load.
	data, err := json.Marshal(person)
	copied := Person{}
	if err == nil {
		decoder := json.NewDecoder(strings.NewReader(string(data)))
		decoder.UseNumber()
		err = decoder.Decode(&copied)
	}
	if err != nil || person.Subject == "" {
		p.cfg.Log.Error("development provider: person rejected", "sub", person.Subject, "error", err)
		return
	}
	p.records.setPerson(copied)
}

func (s *records) setPerson(person Person) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.Added, func(a Person) bool { return a.Subject == person.Subject })
	if i >= 0 {
		s.Added[i] = person
	} else {
		s.Added = append(s.Added, person)
		s.Added = s.Added[max(0, len(s.Added)-maxAdded):]
	}
	s.changed()
}

// everyone returns the configured people, followed by the added ones, newest first.
func (s *records) everyone() []Person {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.people)
	for _, added := range slices.Backward(s.Added) {
		i := slices.IndexFunc(s.people, func(a Person) bool { return a.Subject == added.Subject })
		if i >= 0 {
			all[i] = added
		} else {
			all = append(all, added)
		}
	}
	return all
}

// person returns the person with the given subject.
func (s *records) person(subject string) (Person, bool) {
	everyone := s.everyone()
	i := slices.IndexFunc(everyone, func(a Person) bool { return a.Subject == subject })
	if i < 0 || subject == "" {
		return Person{}, false
	}
	return everyone[i], true
}

// label is the name that pages show for the person.
func (person Person) label() string {
	switch {
	case person.Name != "":
		return person.Name
	case person.Email != "":
		return person.Email
	}
	return person.Subject
}

// pictureURL returns the address of the subject's picture.
func pictureURL(base, subject string) string { return base + url.PathEscape(subject) }

// firstLetter returns the first letter of a name in upper case. It is the default of Config.Initials.
func firstLetter(name string) string {
	for _, r := range name {
		return strings.ToUpper(string(r))
	}
	return "?"
}

// picture draws the subject's initials on a coloured square. Pages of other origins may
// embed it, as they may with a production provider's pictures.
func (p *Provider) picture(w http.ResponseWriter, r *http.Request) {
	person, ok := p.records.person(r.PathValue("sub"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := fnv.New32a()
	h.Write([]byte(person.Subject))
	hue := h.Sum32() % 360
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96" width="96" height="96">`+
		`<linearGradient id="g" x2="1" y2="1"><stop stop-color="hsl(%d,55%%,42%%)"/><stop offset="1" stop-color="hsl(%d,60%%,28%%)"/></linearGradient>`+
		`<rect width="96" height="96" fill="url(#g)"/>`+
		`<text x="48" y="50" fill="#fff" font-family="system-ui,sans-serif" font-size="38" font-weight="600" text-anchor="middle" dominant-baseline="central">%s</text></svg>`,
		hue, (hue+40)%360, html.EscapeString(p.cfg.Initials(person.label())))
}
