package devop

import (
	"crypto/rand"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"
)

// grant is what one sign-in gave one client: the code, and the family of tokens issued for
// it. Codes and refresh tokens begin with the grant's id, so deleting the grant revokes
// them all.
type grant struct {
	Client, Subject, SID string
	Scope                []string
	Audience, ACR        string
	Organization         string
	AuthTime             time.Time
	Nonce, RedirectURI   string
	Challenge            string // PKCE, S256
	Code                 string // hash
	CodeUsed             bool
	CodeExpires          time.Time
	Refresh              string // hash of the valid one
	RefreshExpires       time.Time
	Expires              time.Time
}

// accessToken is stored under its hash. It is valid only while its grant exists.
type accessToken struct {
	Grant   string
	Scope   []string
	Bound   confirmation `json:",omitzero"`
	Expires time.Time
}

// request is a pending authorization request: pushed by its client, or waiting for the
// person on the sign-in page. It is stored under the hash of its id.
type request struct {
	Client  string
	Pushed  bool
	Values  url.Values
	Expires time.Time
}

// errGrant means that a code or token is unknown, expired, used or another client's.
var errGrant = errors.New("devop: no such grant")

// addRequest stores r and returns its id.
func (s *records) addRequest(r request) string {
	id := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Requests[hash(id)] = &r
	s.changed()
	return id
}

// request returns a request that waits for a person.
func (s *records) request(id string) (request, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.Requests[hash(id)]
	if !ok || r.Pushed || !s.now().Before(r.Expires) {
		return request{}, false
	}
	return *r, true
}

// takePushed returns a client's pushed request, and only once (RFC 9126 section 4).
func (s *records) takePushed(id, client string) (url.Values, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.Requests[hash(id)]
	if !ok || !r.Pushed || r.Client != client {
		return nil, false
	}
	delete(s.Requests, hash(id))
	s.changed()
	return r.Values, s.now().Before(r.Expires)
}

// addGrant stores g, records that its client took part in the session, and returns the
// authorization code.
func (s *records) addGrant(g grant) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := rand.Text()
	code := id + "." + rand.Text()
	g.Code = hash(code)
	g.CodeExpires = s.now().Add(codeTTL)
	g.Expires = g.CodeExpires
	s.Grants[hash(id)] = &g
	for _, in := range s.Sessions {
		if in.SID == g.SID && !slices.Contains(in.Clients, g.Client) {
			in.Clients = append(in.Clients, g.Client)
		}
	}
	s.changed()
	return code
}

// redeemCode spends a code. If a code is used twice, one of its users has stolen it, so
// redeemCode revokes everything that was issued for it (RFC 6749 section 4.1.2).
func (s *records) redeemCode(code, client string) (grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := grantKey(code)
	g, ok := s.Grants[key]
	if !ok || g.Client != client || g.Code != hash(code) {
		return grant{}, errGrant
	}
	s.changed()
	if g.CodeUsed {
		delete(s.Grants, key)
		return grant{}, errGrant
	}
	g.CodeUsed = true
	if !s.now().Before(g.CodeExpires) {
		return grant{}, errGrant
	}
	return *g, nil
}

// rotateRefresh spends a refresh token if check accepts its grant, and returns the next
// token. A token of the family other than the valid one has been used before, so it revokes
// the family (RFC 9700 section 4.14.2).
func (s *records) rotateRefresh(token, client string, check func(grant) error) (grant, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := grantKey(token)
	g, ok := s.Grants[key]
	if !ok || g.Client != client || g.Refresh == "" || token == "" {
		return grant{}, "", errGrant
	}
	if g.Refresh != hash(token) {
		delete(s.Grants, key)
		s.changed()
		return grant{}, "", errGrant
	}
	if !s.now().Before(g.RefreshExpires) {
		return grant{}, "", errGrant
	}
	if err := check(*g); err != nil {
		return grant{}, "", err
	}
	id, _, _ := strings.Cut(token, ".")
	next := s.newRefresh(id, g)
	s.changed()
	return *g, next, nil
}

// newRefresh makes the refresh token that replaces the grant's current one.
func (s *records) newRefresh(id string, g *grant) string {
	token := id + "." + rand.Text()
	g.Refresh = hash(token)
	g.RefreshExpires = s.now().Add(refreshTTL)
	g.Expires = g.RefreshExpires
	return token
}

// firstRefresh makes the first refresh token for the grant of a code.
func (s *records) firstRefresh(code string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.Grants[grantKey(code)]
	if !ok {
		return "", errGrant
	}
	id, _, _ := strings.Cut(code, ".")
	s.changed()
	return s.newRefresh(id, g), nil
}

// addAccess stores an access token under the grant of its source, the code or refresh token
// that it was issued for. It returns errGrant if that grant has been revoked.
func (s *records) addAccess(source, token string, t accessToken) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := grantKey(source)
	g, ok := s.Grants[key]
	if !ok {
		return errGrant
	}
	if t.Expires.After(g.Expires) {
		g.Expires = t.Expires
	}
	t.Grant = key
	s.Access[hash(token)] = &t
	s.changed()
	return nil
}

// access returns a valid access token and its subject.
func (s *records) access(token string) (subject string, found accessToken, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.Access[hash(token)]
	if !ok || !s.now().Before(t.Expires) {
		return "", accessToken{}, false
	}
	g, ok := s.Grants[t.Grant]
	if !ok {
		return "", accessToken{}, false
	}
	return g.Subject, *t, true
}

// revoke revokes an access token, or the family of a refresh token. It returns errGrant if
// the token belongs to another client. An unknown token is not an error.
func (s *records) revoke(token, client string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := grantKey(token)
	t, isAccess := s.Access[hash(token)]
	if isAccess {
		key = t.Grant
	}
	g, ok := s.Grants[key]
	if !ok || (!isAccess && g.Refresh == "") {
		return nil
	}
	if g.Client != client {
		return errGrant
	}
	if isAccess {
		delete(s.Access, hash(token))
	} else {
		delete(s.Grants, key)
	}
	s.changed()
	return nil
}

// grantKey returns the key of the grant that a code or refresh token belongs to.
func grantKey(token string) string {
	id, _, _ := strings.Cut(token, ".")
	return hash(id)
}
