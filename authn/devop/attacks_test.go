package devop_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// exchanged redeems a code as the client does, with the given changes, and reports whether
// it gets tokens.
func (p *idp) exchanged(code string, changes url.Values) bool {
	p.t.Helper()
	body := exchange(code)
	maps.Copy(body, changes)
	r, tokens := p.call("/token", body)
	return r.status == http.StatusOK && tokens["access_token"] != nil
}

// gets reports whether an authorization request leads to the sign-in page.
func (p *idp) gets(changes url.Values) bool {
	p.t.Helper()
	r := p.authorize(changes)
	if location := r.header.Get("Location"); location != "" && !strings.HasPrefix(location, redirectURI+"?") {
		p.t.Errorf("the response goes to %s", location)
	}
	return r.status == http.StatusOK && strings.Contains(r.body, `id="person-dev|ada"`)
}

// code signs Ada in and returns the code.
func (p *idp) code() string {
	p.t.Helper()
	return p.signIn("dev|ada", url.Values{"prompt": {"login"}}).Get("code")
}

// as calls an endpoint as the given client and reports whether it succeeds.
func (p *idp) as(id, secret, path string, body url.Values) bool {
	p.t.Helper()
	req := p.request(http.MethodPost, path, body)
	req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	return p.do(p.program, req).status == http.StatusOK
}

// TestAttacks (DV-07) shows that the development provider is as strict as a real one: it
// refuses each attack, and accepts a control request that differs only in the attacked
// detail. The other tests check how it refuses.
func TestAttacks(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	const secret = "app s:cret+%"
	// pick returns the value for the attack or for the control.
	pick := func(attack bool, bad, good string) []string {
		if attack {
			return []string{bad}
		}
		return []string{good}
	}
	challenge := authorization(nil).Get("code_challenge")
	authorize := func(name, bad, good string) func(p *idp, attack bool) bool {
		return func(p *idp, attack bool) bool { return p.gets(url.Values{name: pick(attack, bad, good)}) }
	}
	redeem := func(name, bad, good string) func(p *idp, attack bool) bool {
		return func(p *idp, attack bool) bool {
			return p.exchanged(p.code(), url.Values{name: pick(attack, bad, good)})
		}
	}
	redirectTo := func(bad string) func(p *idp, attack bool) bool { return authorize("redirect_uri", bad, redirectURI) }
	// try reports whether the request succeeds, as an attack or as its control.
	for name, try := range map[string]func(p *idp, attack bool) bool{
		"no code challenge":                       authorize("code_challenge", "", challenge),
		"a plain code challenge":                  authorize("code_challenge_method", "plain", "S256"),
		"a token in the front channel":            authorize("response_type", "code token", "code"),
		"an ID token in the front channel":        authorize("response_type", "id_token", "code"),
		"a response in a fragment":                authorize("response_mode", "fragment", "query"),
		"an unknown client":                       authorize("client_id", "nobody", "app"),
		"a redirect URI on another host":          redirectTo("https://evil.example/callback"),
		"a redirect URI with the same prefix":     redirectTo(redirectURI + ".evil.example"),
		"a redirect URI below the registered one": redirectTo(redirectURI + "/../evil"),
		"a redirect URI with a longer query":      redirectTo(redirectURI + "?evil=1"),
		"a redirect URI with a fragment":          redirectTo(redirectURI + "#evil"),
		"a redirect URI with a user name":         redirectTo(strings.Replace(redirectURI, "http://", "http://evil.example@", 1)),
		"a redirect URI on another port":          redirectTo(strings.Replace(redirectURI, ":9/", ":10/", 1)),
		"a redirect URI with another scheme":      redirectTo(strings.Replace(redirectURI, "http:", "https:", 1)),
		"a code with no verifier":                 redeem("code_verifier", "", verifier),
		"a code with the wrong verifier":          redeem("code_verifier", strings.Repeat("x", len(verifier)), verifier),
		"a code with the challenge as verifier":   redeem("code_verifier", challenge, verifier),
		"a code with another redirect URI":        redeem("redirect_uri", redirectURI+"?tenant=1", redirectURI),
		"a code with no redirect URI":             redeem("redirect_uri", "", redirectURI),
		"a made-up code":                          func(p *idp, attack bool) bool { return p.exchanged(pick(attack, "made-up", p.code())[0], nil) },
		"a code twice": func(p *idp, attack bool) bool {
			code := p.code()
			p.exchanged(code, nil)
			return p.exchanged(pick(attack, code, p.code())[0], nil)
		},
		"the right verifier after a wrong one": func(p *idp, attack bool) bool {
			code := p.code()
			p.exchanged(code, url.Values{"code_verifier": {strings.Repeat("x", 43)}})
			return p.exchanged(pick(attack, code, p.code())[0], nil)
		},
		"a code after a minute": func(p *idp, attack bool) bool {
			code := p.code()
			if p.offset.Add(50); attack {
				p.offset.Add(10)
			}
			return p.exchanged(code, nil)
		},
		"tokens of a code used twice": func(p *idp, attack bool) bool {
			code := p.code()
			_, tokens := p.call("/token", exchange(code))
			if attack {
				p.exchanged(code, nil)
			}
			return p.userinfo(tokens["access_token"]).status == http.StatusOK
		},
		"a code at another client": func(p *idp, attack bool) bool {
			if attack {
				return p.as("other", "other-secret", "/token", exchange(p.code()))
			}
			return p.as("app", secret, "/token", exchange(p.code()))
		},
		"a client with the wrong secret": func(p *idp, attack bool) bool {
			return p.as("app", pick(attack, "other-secret", secret)[0], "/token", exchange(p.code()))
		},
		"a client without a secret": func(p *idp, attack bool) bool {
			body := exchange(p.code())
			body["client_id"], body["client_secret"] = []string{"app"}, pick(attack, "", secret)
			return p.do(p.program, p.request(http.MethodPost, "/token", body)).status == http.StatusOK
		},
		"a secret in the URL": func(p *idp, attack bool) bool {
			body, query := exchange(p.code()), url.Values{}
			body.Set("client_id", "app")
			if query.Set("client_secret", secret); !attack {
				query, body["client_secret"] = nil, []string{secret}
			}
			return p.do(p.program, p.request(http.MethodPost, "/token?"+query.Encode(), body)).status == http.StatusOK
		},
		"a refresh token twice": func(p *idp, attack bool) bool {
			first := p.tokens(nil)["refresh_token"].(string)
			_, next := p.refresh(first)
			r, _ := p.refresh(pick(attack, first, next["refresh_token"].(string))[0])
			return r.status == http.StatusOK
		},
		"the family of a refresh token used twice": func(p *idp, attack bool) bool {
			first := p.tokens(nil)["refresh_token"]
			_, next := p.refresh(first)
			if attack {
				p.refresh(first)
			}
			r, _ := p.refresh(next["refresh_token"])
			return r.status == http.StatusOK
		},
		"a refresh token at another client": func(p *idp, attack bool) bool {
			body := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {p.tokens(nil)["refresh_token"].(string)}}
			if attack {
				return p.as("other", "other-secret", "/token", body)
			}
			return p.as("app", secret, "/token", body)
		},
		"more scope on refresh": func(p *idp, attack bool) bool {
			token := p.tokens(url.Values{"scope": {"openid offline_access"}})["refresh_token"].(string)
			r, _ := p.call("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "scope": pick(attack, "openid email", "openid")})
			return r.status == http.StatusOK
		},
		"a pushed request twice": func(p *idp, attack bool) bool {
			_, pushed := p.call("/par", authorization(nil))
			address := "/authorize?" + url.Values{"client_id": {"app"}, "request_uri": {pushed["request_uri"].(string)}}.Encode()
			if attack {
				p.get(address)
			}
			return p.get(address).status == http.StatusOK
		},
		"a sign-in form on another site": func(p *idp, attack bool) bool {
			req := p.request(http.MethodPost, "/sign-in", url.Values{"request": {p.signInPage(nil)}, "sub": {"dev|ada"}})
			req.Header["Sec-Fetch-Site"] = pick(attack, "cross-site", "same-origin")
			return strings.Contains(p.do(p.browser, req).header.Get("Location"), "code=")
		},
		"a sign-out that leads elsewhere": func(p *idp, attack bool) bool {
			hint := p.tokens(nil)["id_token"].(string)
			r := p.get("/end_session?" + url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": pick(attack, "https://evil.example/", leaveURI)}.Encode())
			return r.header.Get("Location") != ""
		},
	} {
		t.Run("DV-07 "+name, func(t *testing.T) {
			fresh := func() *idp {
				one := *p
				one.t, one.browser = t, newBrowser(t)
				return &one
			}
			if !try(fresh(), false) {
				t.Error("the control is refused too, so this case proves nothing")
			}
			if try(fresh(), true) {
				t.Error("the attack succeeds")
			}
		})
	}
}
