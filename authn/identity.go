package authn

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// Identity is a person as the provider vouches for them. Issuer and Subject
// together are the key of a user, for ever; an e-mail address is not (OpenID
// Connect Core 1.0 section 5.7).
type Identity struct {
	Issuer  string
	Subject string
	// SID is the provider's name for its session with the person, or "".
	SID string
	// AuthTime is when the person last proved who they are, or zero where the
	// provider does not say.
	AuthTime time.Time
	// IDToken and UserInfo are the claims by where they came from.
	IDToken, UserInfo Claims
	// Profile is what a page shows of them.
	Profile Profile
}

// Profile is the part of the standard claims that a page greets a person with
// (OpenID Connect Core 1.0 section 5.1). Any of it may be empty.
type Profile struct {
	Name          string
	Email         string
	EmailVerified bool
	Picture       string
}

// Source says where a claim came from.
type Source string

// The sources of claims.
const (
	SourceIDToken     Source = "ID token"
	SourceUserInfo    Source = "userinfo"
	SourceAccessToken Source = "access token"
)

// SourcedClaim is a claim and where it came from.
type SourcedClaim struct {
	Claim
	Source Source
}

// signedOnly are claims that userinfo cannot speak about: they belong to the
// signed token, and sign-out and step-up rely on them.
var signedOnly = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "azp", "at_hash", "auth_time", "acr", "amr", "sid", "session_expiry", "org_id", "org_name"}

// newIdentity puts together what an accepted ID token and an accepted userinfo
// response say.
func newIdentity(issuer string, t *idToken, userInfo Claims) Identity {
	i := Identity{
		Issuer:   issuer,
		Subject:  t.subject,
		SID:      t.sid,
		AuthTime: t.authTime,
		IDToken:  t.claims,
		UserInfo: userInfo,
	}
	i.Profile = i.profile()
	return i
}

// Claims lists every claim once. Where both speak, userinfo is the newer word,
// except for what only the signed token may say.
func (i Identity) Claims() []SourcedClaim {
	var list []SourcedClaim
	userInfo := i.UserInfo.List()
	for _, claim := range i.IDToken.List() {
		source := SourceIDToken
		if n := slices.IndexFunc(userInfo, func(c Claim) bool { return c.Name == claim.Name }); n >= 0 && !slices.Contains(signedOnly, claim.Name) {
			claim, source = userInfo[n], SourceUserInfo
		}
		list = append(list, SourcedClaim{claim, source})
	}
	for _, claim := range userInfo {
		known := slices.ContainsFunc(list, func(c SourcedClaim) bool { return c.Name == claim.Name })
		if !known && !slices.Contains(signedOnly, claim.Name) {
			list = append(list, SourcedClaim{claim, SourceUserInfo})
		}
	}
	return list
}

// ACR is the authentication context class of the sign-in, how it was made (OpenID
// Connect Core 1.0 section 2), or "".
func (i Identity) ACR() string { return i.IDToken.String("acr") }

func (i Identity) profile() Profile {
	// A claim of the wrong type is left out; it is no reason to refuse a sign-in.
	text := func(name string) string {
		if s := i.UserInfo.String(name); s != "" {
			return s
		}
		return i.IDToken.String(name)
	}
	p := Profile{Name: text("name"), Email: text("email"), Picture: text("picture")}
	if p.Name == "" {
		p.Name = strings.TrimSpace(text("given_name") + " " + text("family_name"))
	}
	if p.Name == "" {
		p.Name = text("preferred_username")
	}
	// Whether an address is verified is said by whoever says the address.
	if i.UserInfo.String("email") != "" {
		p.EmailVerified = i.UserInfo.Bool("email_verified")
	} else {
		p.EmailVerified = i.IDToken.Bool("email_verified")
	}
	return p
}

// hear takes the userinfo of a refresh. What userinfo said before and says no more is
// withdrawn, whatever the ID token of the sign-in had: a role that is taken away must not
// come back from there.
func (i *Identity) hear(userInfo Claims) {
	var withdrawn []string
	for _, change := range changes(i.UserInfo, userInfo) {
		if change.After == nil && !slices.Contains(signedOnly, change.Name) {
			withdrawn = append(withdrawn, change.Name)
		}
	}
	if len(withdrawn) > 0 {
		i.IDToken = i.IDToken.without(withdrawn)
	}
	i.UserInfo = userInfo
	i.Profile = i.profile()
}

// renew takes the claims of a refreshed ID token. What it says otherwise than the one
// before is newer than userinfo. What it merely does not repeat stands: a refreshed ID
// token need not have all claims (OpenID Connect Core 1.0 section 12.2).
func (i *Identity) renew(idToken Claims) {
	var overtaken []string
	for _, change := range changes(i.IDToken, idToken) {
		if change.After != nil && !slices.Contains(signedOnly, change.Name) {
			overtaken = append(overtaken, change.Name)
		}
	}
	if len(overtaken) > 0 && len(i.UserInfo) > 0 {
		i.UserInfo = i.UserInfo.without(overtaken)
	}
	i.IDToken = idToken
}

// Change is a claim that a refresh found changed. Before or After is nil where the
// claim is new or gone.
type Change struct {
	Name          string
	Before, After []byte
}

// changes lists what userinfo says now and did not say before, by name.
// Where nothing was known before, nothing has changed.
func changes(before, after Claims) []Change {
	if len(before) == 0 {
		return nil
	}
	var list []Change
	old := before.List()
	for _, now := range after.List() {
		n := slices.IndexFunc(old, func(c Claim) bool { return c.Name == now.Name })
		if n < 0 {
			list = append(list, Change{Name: now.Name, After: now.Value})
			continue
		}
		if !bytes.Equal(old[n].Value, now.Value) {
			list = append(list, Change{Name: now.Name, Before: old[n].Value, After: now.Value})
		}
		old = slices.Delete(old, n, n+1)
	}
	for _, gone := range old {
		list = append(list, Change{Name: gone.Name, Before: gone.Value})
	}
	return list
}
