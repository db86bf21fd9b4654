package app_test

import (
	"maps"
	"net/http"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// unknownTo has an endpoint refuse a request that has an address as a parameter.
func unknownTo(parameter, address string, otherwise http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue(parameter) == address {
			scriptedop.Body(http.StatusBadRequest, "text/html", "not registered")(w, r)
			return
		}
		otherwise(w, r)
	}
}

// strict has a provider, which otherwise accepts any address, refuse one.
func strict(op *scriptedop.Provider) {
	for e, parameter := range map[scriptedop.Endpoint]string{
		scriptedop.Authorize: "redirect_uri", scriptedop.PAR: "redirect_uri", scriptedop.EndSession: "post_logout_redirect_uri",
	} {
		path := map[bool]string{true: "/signed-out", false: "/callback"}[e == scriptedop.EndSession]
		op.Answer(e, unknownTo(parameter, "https://unregistered.invalid"+path, op.Correct(e)))
	}
}

// lax has an endpoint accept any address again.
func lax(e scriptedop.Endpoint) func(*scriptedop.Provider) { return answers(e, nil) }

// dated has every endpoint answer with a clock that is ahead, or from a cache.
func dated(op *scriptedop.Provider, ahead time.Duration, age string) {
	for _, e := range []scriptedop.Endpoint{scriptedop.Discovery, scriptedop.JWKS, scriptedop.Token} {
		op.Answer(e, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			w.Header().Set("Age", age)
			op.Correct(e)(w, r)
		})
	}
}

// without removes a member of the discovery document, or changes it.
func without(member string, otherwise ...any) func(*scriptedop.Provider) {
	return func(op *scriptedop.Provider) {
		op.Edit(scriptedop.Discovery, func(document map[string]any) {
			if delete(document, member); len(otherwise) > 0 {
				document[member] = otherwise[0]
			}
		})
	}
}

// moved redirects the discovery document to another address of the same origin.
func moved(op *scriptedop.Provider) {
	op.Answer(scriptedop.Discovery, scriptedop.InTurn(scriptedop.Redirect(http.StatusFound, "?moved"), op.Correct(scriptedop.Discovery)))
}

// responds makes the authorization response an error.
func responds(code string) func(*scriptedop.Provider) {
	return func(op *scriptedop.Provider) {
		op.Edit(scriptedop.Authorize, func(response map[string]any) {
			delete(response, "code")
			response["error"] = code
		})
	}
}

// answers replaces the answer of an endpoint.
func answers(e scriptedop.Endpoint, answer http.HandlerFunc) func(*scriptedop.Provider) {
	return func(op *scriptedop.Provider) { op.Answer(e, answer) }
}

// doctorCase is a property of a set-up, and the finding that it leads to.
type doctorCase struct {
	name   string
	change func(*scriptedop.Provider)
	env    []string
	// problems are all checks that are not ok. The finding about contains the first text, and
	// its remedy the second.
	problems map[string]string
	about    string
	text     [2]string
}

// rest returns the checks that are skipped if no endpoint can be used.
func rest(first map[string]string, alsoSkipped ...string) map[string]string {
	list := maps.Clone(first)
	for _, check := range append(alsoSkipped, "algorithms", "key_set", "pkce", "client", "pushed_requests", "callback",
		"authorization_request", "sign_out", "backchannel_logout") {
		list[check] = "skipped"
	}
	return list
}

func discoveryCases() []doctorCase {
	undiscovered := func(side string) map[string]string {
		return rest(map[string]string{"discovery": "failed " + side}, "issuer", "endpoints")
	}
	unreached := func(side string) map[string]string { // and so without a clock
		list := undiscovered(side)
		list["clock"] = "skipped"
		return list
	}
	return []doctorCase{
		{name: "all is well"},
		{name: "nobody there", env: []string{"OIDC_ISSUER=http://127.0.0.1:1"}, problems: unreached("network"), about: "discovery", text: [2]string{"nothing listens there", "spell host and port"}},
		{name: "no such host", env: []string{"OIDC_ISSUER=https://unknown.invalid"}, problems: unreached("network"), about: "discovery", text: [2]string{`"unknown.invalid" is not known here`, "spell the host"}},
		{name: "an answer that does not come", change: answers(scriptedop.Discovery, scriptedop.Hang), problems: unreached("network"), about: "discovery", text: [2]string{"no answer within 5s", "firewall"}},
		{name: "an answer that breaks off", change: answers(scriptedop.Discovery, scriptedop.Cut), problems: undiscovered("provider"), about: "discovery", text: [2]string{"reading the response"}},
		{name: "another path", env: []string{"OIDC_ISSUER={issuer}elsewhere"}, problems: undiscovered("configuration"), about: "discovery", text: [2]string{"404", "spell the issuer"}},
		{name: "a page", change: answers(scriptedop.Discovery, scriptedop.Body(200, "text/html", "welcome")), problems: undiscovered("configuration"), about: "discovery", text: [2]string{"is no discovery document", "spell the issuer"}},
		{name: "CB-16 another address of this origin", change: moved},
		{name: "CB-16 another origin", change: answers(scriptedop.Discovery, scriptedop.Redirect(301, "https://id.example.com/realm/.well-known/openid-configuration?x=y")), problems: undiscovered("configuration"), about: "discovery", text: [2]string{`301 Moved Permanently and leads to "https://id.example.com/realm/.well-known/openid-configuration"`, `set OIDC_ISSUER (or AUTH0_DOMAIN) to the issuer that the document there names, which should be "https://id.example.com/realm"`}},
		{name: "CB-16 a page for signing in", change: answers(scriptedop.Discovery, scriptedop.Redirect(302, "https://sso.example.com/login")), problems: undiscovered("configuration"), about: "discovery", text: [2]string{`"https://sso.example.com/login"`, "serve the document to everyone"}},
		{name: "CF-05 an address that is none", change: without("token_endpoint", 5), problems: undiscovered("configuration"), about: "discovery", text: [2]string{"token_endpoint is not a string"}},
		{name: "CF-05 a member that only informs", change: without("code_challenge_methods_supported", "S256"), about: "pkce", text: [2]string{"does not say"}},
		{name: "an outage", change: answers(scriptedop.Discovery, scriptedop.Status(503)), problems: undiscovered("provider"), about: "discovery", text: [2]string{"503", "later"}},
		{
			name: "CF-04 another spelling of the issuer", env: []string{"OIDC_ISSUER={issuer without slash}"}, problems: rest(map[string]string{"issuer": "failed configuration"}, "endpoints"),
			about: "issuer", text: [2]string{"calls itself", "the slash at the end counts"},
		},
		{
			name: "CF-04 another issuer", change: without("issuer", "https://another.example"), problems: rest(map[string]string{"issuer": "failed configuration"}, "endpoints"),
			about: "issuer", text: [2]string{`calls itself "https://another.example"`, "to the letter"},
		},
		{name: "CF-05 an endpoint without TLS", change: without("token_endpoint", "http://op.example/token"), problems: rest(map[string]string{"endpoints": "failed provider"}), about: "endpoints", text: [2]string{"token_endpoint is not https"}},
		{
			name: "no common algorithm", env: []string{"ID_TOKEN_ALG=RS256"}, problems: map[string]string{"algorithms": "failed configuration", "key_set": "failed configuration"},
			about: "algorithms", text: [2]string{`"ES256"`, "ID_TOKEN_ALG"},
		},
		{name: "algorithms not said", change: without("id_token_signing_alg_values_supported"), about: "algorithms", text: [2]string{"does not say"}},
		{name: "DPoP", env: []string{"DPOP=on"}, change: without("dpop_signing_alg_values_supported", []string{"ES256"})},
		{
			name: "DPoP that the provider does not mention", env: []string{"DPOP=on"}, problems: map[string]string{"algorithms": "warning provider"},
			about: "algorithms", text: [2]string{"dpop_signing_alg_values_supported", "turn DPOP off"},
		},
		{
			name: "DPoP with other algorithms", env: []string{"DPOP=on"}, change: without("dpop_signing_alg_values_supported", []string{"ES512"}),
			problems: map[string]string{"algorithms": "failed configuration"}, about: "algorithms", text: [2]string{`"ES512"`, "turn DPOP off"},
		},
		{name: "an empty key set", change: answers(scriptedop.JWKS, scriptedop.Body(200, "application/json", `{"keys":[]}`)), problems: map[string]string{"key_set": "failed provider"}, about: "key_set", text: [2]string{"no usable signature key"}},
		{name: "no key set", change: answers(scriptedop.JWKS, scriptedop.Status(500)), problems: map[string]string{"key_set": "failed provider"}, about: "key_set", text: [2]string{"500"}},
		{name: "PKCE without S256", change: without("code_challenge_methods_supported", []string{"plain"}), problems: map[string]string{"pkce": "failed provider"}, about: "pkce", text: [2]string{"without S256"}},
		{name: "PKCE not said", change: without("code_challenge_methods_supported"), about: "pkce", text: [2]string{"does not say"}},
		{name: "a clock that is behind", change: func(op *scriptedop.Provider) { dated(op, 5*time.Minute, "0") }, problems: map[string]string{"clock": "failed machine"}, about: "clock", text: [2]string{"behind the provider's; beyond 1m0s", "time server"}},
		{name: "a clock that is ahead", change: func(op *scriptedop.Provider) { dated(op, -5*time.Minute, "0") }, problems: map[string]string{"clock": "failed machine"}, about: "clock", text: [2]string{"ahead of the provider's; beyond 1m0s"}},
		{name: "a clock that is a little behind", change: func(op *scriptedop.Provider) { dated(op, 30*time.Second, "0") }, problems: map[string]string{"clock": "warning machine"}, about: "clock", text: [2]string{"is tolerated"}},
		{name: "answers from a cache", change: func(op *scriptedop.Provider) { dated(op, -5*time.Minute, "300") }, about: "clock", text: [2]string{"agree"}},
		{name: "no back-channel logout", change: func(op *scriptedop.Provider) {
			op.Edit(scriptedop.Discovery, func(document map[string]any) {
				document["backchannel_logout_supported"], document["backchannel_logout_session_supported"] = false, false
			})
		}, problems: map[string]string{"backchannel_logout": "warning provider"}},
	}
}

func clientCases() []doctorCase {
	refused := map[string]string{"client": "failed configuration"}
	answer := func(status int, code string) func(*scriptedop.Provider) {
		return answers(scriptedop.Token, scriptedop.JSON(status, map[string]any{"error": code}))
	}
	return []doctorCase{
		{name: "a wrong secret", env: []string{"AUTH0_CLIENT_SECRET=another"}, problems: refused, about: "client", text: [2]string{"401 invalid_client", "AUTH0_CLIENT_SECRET again"}},
		{name: "the secret in the form", env: []string{"CLIENT_AUTH=client_secret_post"}, about: "client", text: [2]string{"client_secret_post"}},
		{name: "a wrong secret, as Auth0 says it", change: answer(401, "access_denied"), problems: refused, about: "client", text: [2]string{"401 access_denied", "AUTH0_CLIENT_SECRET again"}},
		{name: "a method that is not offered", change: func(op *scriptedop.Provider) {
			without("token_endpoint_auth_methods_supported", []string{"private_key_jwt"})(op)
			answer(401, "invalid_client")(op)
		}, problems: refused, about: "client", text: [2]string{"client_secret_basic", `CLIENT_AUTH to one of "private_key_jwt"`}},
		{name: "no code grant", change: answer(400, "unauthorized_client"), problems: refused, about: "client", text: [2]string{"does not let it redeem", "authorization code grant"}},
		{name: "a provider that accepts every code", change: answers(scriptedop.Token, scriptedop.JSON(200, map[string]any{"access_token": "x", "token_type": "Bearer"})), problems: map[string]string{"client": "warning provider"}, about: "client", text: [2]string{"accepted a code that does not exist"}},
		{name: "no permission, for no reason that the standard knows", change: answers(scriptedop.Token, scriptedop.Body(401, "text/html", "no")), problems: map[string]string{"client": "warning provider"}, about: "client", text: [2]string{"inconclusive: the provider answered 401", "sign in once"}},
		{name: "another answer", change: answer(400, "invalid_request"), problems: map[string]string{"client": "warning provider"}, about: "client", text: [2]string{"inconclusive"}},
		{name: "an outage of the token endpoint", change: answer(502, "server_error"), problems: map[string]string{"client": "failed provider"}, about: "client", text: [2]string{"502"}},
	}
}

func callbackCases(page http.HandlerFunc) []doctorCase {
	unknown := map[string]string{"callback": "failed configuration", "authorization_request": "skipped"}
	request := map[string]string{"authorization_request": "failed configuration"}
	return []doctorCase{
		{name: "an unknown redirect URI", change: answers(scriptedop.Authorize, scriptedop.Body(400, "text/html", "no")), problems: unknown, about: "callback", text: [2]string{"does not know " + apptest.CallbackURL + " (", "register " + apptest.CallbackURL}},
		{name: "an unknown redirect URI, and a page for errors", change: answers(scriptedop.Authorize, scriptedop.Redirect(302, "/signin/error")), problems: unknown, about: "callback", text: [2]string{"does not know"}},
		{name: "an unknown redirect URI, and a page of another name", change: answers(scriptedop.Authorize, scriptedop.Redirect(302, "/oops?error=invalid_request")), problems: unknown, about: "callback", text: [2]string{"does not know"}},
		{name: "an unknown client", env: []string{"AUTH0_CLIENT_ID=another"}, problems: map[string]string{
			"client": "failed configuration", "callback": "failed configuration", "authorization_request": "skipped",
		}, about: "callback", text: [2]string{"or not the client id", "AUTH0_CLIENT_ID"}},
		{name: "a page, and none for another address", change: answers(scriptedop.Authorize, unknownTo("redirect_uri", "https://unregistered.invalid/callback", page)), problems: map[string]string{"authorization_request": "skipped"}, about: "callback", text: [2]string{"refuses another (400)"}},
		{name: "a page whatever the address", change: answers(scriptedop.Authorize, page), problems: map[string]string{"callback": "warning configuration", "authorization_request": "skipped"}, about: "callback", text: [2]string{"inconclusive", apptest.CallbackURL}},
		{name: "any redirect URI", change: lax(scriptedop.Authorize), problems: map[string]string{"callback": "warning configuration"}, about: "callback", text: [2]string{"to any address", "register one address alone"}},
		{name: "an outage of the authorization endpoint", change: answers(scriptedop.Authorize, scriptedop.Status(503)), problems: map[string]string{"callback": "failed provider", "authorization_request": "skipped"}},
		{name: "a broken authorization endpoint", change: answers(scriptedop.Authorize, scriptedop.Reset), problems: map[string]string{"callback": "failed network", "authorization_request": "skipped"}},
		{name: "a person would have to sign in", change: responds("login_required"), about: "authorization_request", text: [2]string{"login_required"}},
		{name: "a scope that is not allowed", change: responds("invalid_scope"), problems: request, about: "authorization_request", text: [2]string{"invalid_scope", "AUTH0_SCOPES"}},
		{name: "an unknown audience", change: responds("access_denied"), problems: request, about: "authorization_request", text: [2]string{"access_denied", "AUTH0_AUDIENCE"}},
		{name: "a code of nobody's", change: responds("<script>"), problems: map[string]string{"authorization_request": "warning provider"}, about: "authorization_request", text: [2]string{"(<script>)"}},
		{name: "pushed requests", env: []string{"PUSHED_AUTHORIZATION_REQUESTS=always"}, about: "pushed_requests", text: [2]string{"is pushed"}},
		{name: "an unknown redirect URI, pushed", env: []string{"PUSHED_AUTHORIZATION_REQUESTS=always"}, change: answers(scriptedop.PAR, scriptedop.JSON(400, map[string]any{"error": "invalid_request"})), problems: unknown, about: "callback", text: [2]string{"does not know"}},
		{name: "pushed requests that are not taken", env: []string{"PUSHED_AUTHORIZATION_REQUESTS=always"}, change: without("pushed_authorization_request_endpoint"), problems: map[string]string{
			"pushed_requests": "failed configuration", "callback": "skipped", "authorization_request": "skipped",
		}},
		{name: "pushed requests that are required", env: []string{"PUSHED_AUTHORIZATION_REQUESTS=never"}, change: without("require_pushed_authorization_requests", true), problems: map[string]string{"pushed_requests": "failed configuration"}},
		{name: "pushed requests by themselves", change: without("require_pushed_authorization_requests", true), about: "pushed_requests", text: [2]string{"is pushed"}},
	}
}

func signOutCases(page http.HandlerFunc) []doctorCase {
	const parameter = "post_logout_redirect_uri"
	return []doctorCase{
		{name: "no sign-out", change: without("end_session_endpoint"), problems: map[string]string{"sign_out": "warning provider"}, about: "sign_out", text: [2]string{"stay signed in there"}},
		{name: "an unknown address after sign-out", change: answers(scriptedop.EndSession, unknownTo(parameter, apptest.SignedOutURL, page)), problems: map[string]string{"sign_out": "failed configuration"}, about: "sign_out", text: [2]string{"does not know " + apptest.SignedOutURL, "register " + apptest.SignedOutURL}},
		{name: "a known address after sign-out", change: answers(scriptedop.EndSession, unknownTo(parameter, "https://unregistered.invalid/signed-out", page)), about: "sign_out", text: [2]string{"refuses another"}},
		{name: "a page whatever the address after sign-out", change: answers(scriptedop.EndSession, page), problems: map[string]string{"sign_out": "warning configuration"}, about: "sign_out", text: [2]string{"answers alike"}},
		{name: "any address after sign-out", change: lax(scriptedop.EndSession), problems: map[string]string{"sign_out": "warning configuration"}, about: "sign_out", text: [2]string{"to any address", "register one address alone"}},
		{name: "no sign-out without a session", change: answers(scriptedop.EndSession, scriptedop.Status(400)), problems: map[string]string{"sign_out": "warning configuration"}, about: "sign_out", text: [2]string{"without a session (400)"}},
		{name: "an outage of the end-session endpoint", change: answers(scriptedop.EndSession, scriptedop.Status(500)), problems: map[string]string{"sign_out": "failed provider"}},
	}
}
