// Package authn signs people in with an OpenID Connect provider and keeps them signed in. It is a
// relying party and its sessions, on net/http: it uses no framework and writes no HTML. For values of
// the application's own it implements gorilla's sessions.Store. Package openid below it speaks the
// protocol.
//
// # A sign-in
//
//  1. RelyingParty.Begin makes a transaction (state, nonce, PKCE verifier, return path), seals it
//     into a cookie named for its state, and returns the authorization request: code flow, PKCE
//     S256 (OpenID Connect Core 1.0 section 3.1.2.1, RFC 7636, RFC 9700 section 2.1.1). If the
//     provider asks for it the request is pushed (RFC 9126).
//  2. The person signs in at the provider, which sends the browser back with a code.
//  3. RelyingParty.Complete takes the transaction that the state names, once, and only from the
//     browser that has its cookie. It checks the issuer of the response (RFC 9207), exchanges the
//     code for tokens, once, verifies the ID token (Core section 3.1.3.7), and asks userinfo, whose
//     subject must be the same (Core section 5.3.2).
//  4. Sessions.Start stores a session under a new id and sets its cookie.
//
// # A session
//
// Sessions.Load opens the session of a request, and TokenSource keeps the provider's tokens fresh.
// With Config.DeviceBound, Sessions.BindDevice binds the session to a key of the browser's machine. From then
// on Load needs a proof of that key, which Sessions.RenewDevice renews.
//
// A session ends at sign-out, by Sessions.End and RelyingParty.EndSessionURL (OpenID Connect
// RP-Initiated Logout 1.0); when the provider says so, by Sessions.EndAll (OpenID Connect Back-Channel
// Logout 1.0); from another session of the person, by EndOwn and EndOthers; when an operator or the
// product says so, by EndSelected and EndPerson; or by its idle or absolute timeout. Cause lists the
// other reasons.
//
// # An API
//
// ResourceServer accepts access tokens that the provider has issued to this client or to others (RFC
// 9068). If a token is bound to a key, its sender must have the key (RFC 9449, RFC 8705). A Caller is
// the holder of such a token, or the person of a session.
//
// # Trust
//
// A cookie is trusted only for what its seal covers. The store is trusted to keep what it is given: it
// cannot read it.
//
// What the standards' profiles ask, and which test shows it, is in docs/conformance.md.
//
// Most refusals are an *openid.Error with a Reason. The others have a type or a value of their own, such as
// TooSoonError, ProofError and ErrAnonymous. The text of any is for operators and holds no secret.
package authn
