// Package authn signs people in with an OpenID Connect provider and keeps them
// signed in. It is a relying party and its sessions, on net/http alone: it knows no
// framework and writes no HTML.
//
// # The round trip
//
//  1. RelyingParty.Begin makes a transaction (state, nonce, PKCE verifier, the path to
//     return to), seals it into a cookie named for its state, and returns the
//     authorization request: code flow, PKCE S256 (OpenID Connect Core 1.0 section
//     3.1.2.1, RFC 7636, RFC 9700 section 2.1.1). Where the provider asks for it the
//     request is pushed (RFC 9126).
//  2. The person signs in at the provider, which sends the browser back with a code.
//  3. RelyingParty.Complete takes the transaction that the state names, once, from
//     this browser and no other; checks the issuer of the response (RFC 9207); trades
//     the code for tokens, once; verifies the ID token (Core section 3.1.3.7) with a
//     key of the provider's key set; and asks userinfo, whose subject must be the same
//     (Core section 5.3.2).
//  4. Sessions.Start stores a session under a new id and sets its cookie.
//
// From then on Sessions.Load opens the session of a request, TokenSource keeps the
// provider's tokens usable, and a session ends in one of these ways: Sessions.End and
// RelyingParty.EndSessionURL at sign-out (OpenID Connect RP-Initiated Logout 1.0),
// Sessions.EndAll when the provider says so (OpenID Connect Back-Channel Logout 1.0),
// or by its age.
//
// # What is trusted
//
// The provider is trusted for who people are, and for nothing else: its metadata is
// validated, its answers are bounded in time and size, its redirects are not
// followed, and its keys are used only for the algorithms that the configuration
// names. A cookie is trusted as far as its seal goes. The store is trusted to keep
// what it is given: it cannot read it.
//
// What the standards' profiles ask, and which test shows it, is in docs/conformance.md.
//
// Every refusal is an *Error with a Reason. Its text is for operators and holds no
// secret.
package authn
