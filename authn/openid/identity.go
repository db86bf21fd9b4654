package openid

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Identity is a person as the provider knows them. Issuer and Subject together identify a
// user for ever; an e-mail address does not (OpenID Connect Core 1.0 section 5.7).
type Identity struct {
	Issuer  string
	Subject string
	// SID is the provider's id of its session with the person, or "".
	SID string
	// AuthTime is when the person last authenticated, or zero if the provider does not say.
	AuthTime time.Time
	// IDToken and UserInfo are the claims by their source.
	IDToken, UserInfo Claims
	// Profile is what a page shows of the person.
	Profile Profile
}

// Profile holds the standard claims that a page greets a person with (OpenID Connect Core 1.0
// section 5.1). Any of them may be empty.
type Profile struct {
	Name          string
	Email         string
	EmailVerified bool
	Picture       string
}

// Source is where a claim came from.
type Source string

// The sources of claims.
const (
	SourceIDToken     Source = "ID token"
	SourceUserInfo    Source = "userinfo"
	SourceAccessToken Source = "access token"
)

// SourcedClaim is a claim with its source.
type SourcedClaim struct {
	Claim
	Source Source
}

// signedOnly are claims that count only in the signed token: sign-out and step-up rely on
// them.
var signedOnly = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "azp", "at_hash", "auth_time", "acr", "amr", "sid", "session_expiry", "org_id", "org_name"}

// newIdentity combines an accepted ID token, with its claims, and an accepted userinfo response.
func newIdentity(t *IDToken, claims strictClaims, userInfo received) Identity {
	return Identity{
		Issuer:   t.Issuer,
		Subject:  t.Subject,
		SID:      t.SID,
		AuthTime: t.AuthTime,
		IDToken:  t.Claims,
		UserInfo: userInfo.document,
		Profile:  newProfile(claims, userInfo.claims),
	}
}

// Claims lists every claim once. If both sources have one, that of userinfo is newer and
// counts, except for claims that count only in the signed token.
func (i Identity) Claims() []SourcedClaim {
	idToken, userInfo := i.IDToken.List(), i.UserInfo.List()
	place := make(map[string]int, len(idToken))
	list := make([]SourcedClaim, 0, len(idToken)+len(userInfo))
	for at, claim := range idToken {
		place[claim.Name] = at
		list = append(list, SourcedClaim{claim, SourceIDToken})
	}
	for _, claim := range userInfo {
		at, both := place[claim.Name]
		switch {
		case SignedOnly(claim.Name):
		case both:
			list[at] = SourcedClaim{claim, SourceUserInfo}
		default:
			list = append(list, SourcedClaim{claim, SourceUserInfo})
		}
	}
	return list
}

// ACR returns the authentication context class of the sign-in (OpenID Connect Core 1.0 section
// 2), or "".
func (i Identity) ACR() string { return i.IDToken.String("acr") }

func (i Identity) profile() Profile {
	// What does not parse was refused, or is empty.
	userInfo, _ := parseStrict(i.UserInfo)
	idToken, _ := parseStrict(i.IDToken)
	return newProfile(idToken, userInfo)
}

// newProfile returns the profile of a person from the claims of both sources. It leaves out a claim of the
// wrong type, which is no reason to refuse a sign-in.
func newProfile(idToken, userInfo strictClaims) Profile {
	text := func(name string) string {
		if s, _ := userInfo.string(name); s != "" {
			return s
		}
		s, _ := idToken.string(name)
		return s
	}
	p := Profile{Name: text("name"), Email: text("email"), Picture: text("picture")}
	if p.Name == "" {
		p.Name = strings.TrimSpace(text("given_name") + " " + text("family_name"))
	}
	if p.Name == "" {
		p.Name = text("preferred_username")
	}
	// The source of the address says whether it is verified.
	source := idToken
	if email, _ := userInfo.string("email"); email != "" {
		source = userInfo
	}
	p.EmailVerified = Claim{Value: source["email_verified"]}.IsTrue()
	return p
}

// SetUserInfo replaces the userinfo claims after a refresh. A claim that userinfo no longer has
// is removed from the ID token's claims, too: a role that was taken away must not come back
// from there.
func (i *Identity) SetUserInfo(userInfo Claims) {
	var withdrawn []string
	for _, change := range Changes(i.UserInfo, userInfo) {
		if change.After == nil && !SignedOnly(change.Name) {
			withdrawn = append(withdrawn, change.Name)
		}
	}
	if len(withdrawn) > 0 {
		i.IDToken = i.IDToken.without(withdrawn)
	}
	i.UserInfo = userInfo
	i.Profile = i.profile()
}

// SetIDToken replaces the claims of the ID token with those of a refreshed one. A claim that it has
// changed or no longer has is removed from the userinfo claims, too: what they say is older. A
// refreshed ID token need not have all claims (OpenID Connect Core 1.0 section 12.2), but a role
// that was taken away looks the same as one that is not repeated. The next userinfo response brings
// back what the person still has.
//
// Of two auth_times the older one stays. A provider that counts a refresh as a sign-in must not
// make an old sign-in recent: the person has proved nothing. Nor have they lost anything, so acr and amr,
// which say how they signed in, stay if they are not repeated.
func (i *Identity) SetIDToken(t *IDToken) {
	idToken := t.Claims
	switch {
	case t.AuthTime.IsZero() || i.AuthTime.IsZero():
	case t.AuthTime.Before(i.AuthTime):
		i.AuthTime = t.AuthTime
	case t.AuthTime.After(i.AuthTime):
		idToken = idToken.with("auth_time", strconv.AppendInt(nil, i.AuthTime.Unix(), 10))
	}
	idToken = idToken.withMissing(i.IDToken, "acr", "amr")
	var overtaken []string
	for _, change := range Changes(i.IDToken, idToken) {
		if !SignedOnly(change.Name) {
			overtaken = append(overtaken, change.Name)
		}
	}
	if len(overtaken) > 0 && len(i.UserInfo) > 0 {
		i.UserInfo = i.UserInfo.without(overtaken)
	}
	i.IDToken = idToken
	shown := i.Profile
	i.Profile = i.profile()
	// A name and a picture grant nothing. They stay until userinfo says otherwise, because some
	// providers leave them out of refreshed ID tokens, and pages would lose them for a while.
	i.Profile.Name = cmp.Or(i.Profile.Name, shown.Name)
	i.Profile.Picture = cmp.Or(i.Profile.Picture, shown.Picture)
}

// Change is a claim that a refresh changed. Before is nil for a new claim, and After for one
// that is gone.
type Change struct {
	Name          string
	Before, After []byte
}

// Changes lists the claims that differ. If nothing was known before, nothing has changed.
func Changes(before, after Claims) []Change {
	if len(before) == 0 {
		return nil
	}
	var list []Change
	old := before.List()
	left := make(map[string][]byte, len(old))
	for _, claim := range old {
		left[claim.Name] = claim.Value
	}
	for _, now := range after.List() {
		was, known := left[now.Name]
		delete(left, now.Name)
		if !known || !bytes.Equal(was, now.Value) {
			list = append(list, Change{Name: now.Name, Before: was, After: now.Value})
		}
	}
	for _, gone := range old {
		if _, ok := left[gone.Name]; ok {
			list = append(list, Change{Name: gone.Name, Before: gone.Value})
		}
	}
	return list
}

// SignedOnly reports whether a claim counts only in the signed ID token.
func SignedOnly(name string) bool { return slices.Contains(signedOnly, name) }
