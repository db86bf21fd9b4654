package authn

import "time"

// TokenFacts are what a page may say of a session's access token. The token is not among
// them: whoever has it can use it.
type TokenFacts struct {
	// Audience is the API that it was asked for, or "": then it is for the provider itself.
	Audience string
	// Scopes are what it allows, where the provider says so.
	Scopes []string
	// Expires is when it ends; zero where the provider does not say.
	Expires time.Time
	// Renewable says that there is a refresh token, with which another one is got.
	Renewable bool
}

// Facts returns what may be said of a session's access token.
func (ts *TokenSource) Facts(s *Session) TokenFacts {
	return TokenFacts{
		Audience: ts.rp.cfg.Audience, Scopes: s.Scopes(),
		Expires: s.tokens.Expires, Renewable: s.tokens.Refresh != "",
	}
}
