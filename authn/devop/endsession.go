package devop

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
)

// logout is a logout request (OpenID Connect RP-Initiated Logout 1.0 section 2).
type logout struct {
	hint     idTokenHint // zero if there is none
	target   string      // where the browser goes afterwards; "" means the provider's own page
	clientID string
	state    string
}

// endSession signs the person out. If the ID token hint belongs to the person who is signed
// in, it does so immediately. Otherwise it asks first, because a link on any page could
// lead here.
func (p *Provider) endSession(w http.ResponseWriter, r *http.Request) {
	out, ok := p.takeLogout(w, r)
	if !ok {
		return
	}
	current, signedIn := p.currentSession(r)
	if out.hint.Subject == "" || (signedIn && out.hint.Subject != current.Subject) {
		p.page(w, r, http.StatusOK, confirmPage(p.frame(), out, p.who(r)))
		return
	}
	p.finishLogout(w, r, out)
}

// confirmEndSession handles the confirmation that endSession asks for.
func (p *Provider) confirmEndSession(w http.ResponseWriter, r *http.Request) {
	out, ok := p.takeLogout(w, r)
	if !ok {
		return
	}
	out.hint = idTokenHint{}
	p.finishLogout(w, r, out)
}

// takeLogout reads the logout request. If the request is invalid, takeLogout answers it and
// returns false.
func (p *Provider) takeLogout(w http.ResponseWriter, r *http.Request) (logout, bool) {
	values, err := readForm(r)
	if err = errors.Join(err, checkSingle(values)); err != nil {
		p.refuseForm(w, r, err)
		return logout{}, false
	}
	out, reason := p.readLogout(values)
	if reason != "" {
		p.refuse(w, r, reason)
	}
	return out, reason == ""
}

// readLogout returns the request, or the reason for refusing it. It allows a redirect only
// to a URI that is registered for the client, compared exactly (section 3).
func (p *Provider) readLogout(values url.Values) (logout, string) {
	out := logout{clientID: values.Get("client_id"), target: values.Get("post_logout_redirect_uri"), state: values.Get("state")}
	if raw := values.Get("id_token_hint"); raw != "" {
		hint, err := p.readHint(raw)
		if err != nil {
			return logout{}, "The id_token_hint is not an ID token of this provider."
		}
		out.hint = hint
		if out.clientID == "" {
			out.clientID = out.hint.Audience
		}
		if out.clientID != out.hint.Audience {
			return logout{}, "The id_token_hint was not issued to this client_id."
		}
	}
	client, known := p.client(out.clientID)
	if out.clientID != "" && !known {
		return logout{}, "No client is registered under this client_id."
	}
	if out.target != "" && !slices.Contains(client.PostLogoutRedirectURIs, out.target) {
		return logout{}, "The post_logout_redirect_uri is not registered for this client. It must match a registered one exactly, " +
			"and the request needs an id_token_hint or a client_id."
	}
	return out, ""
}

// finishLogout ends the sessions of this browser and of the ID token hint.
func (p *Provider) finishLogout(w http.ResponseWriter, r *http.Request, out logout) {
	p.endBrowserSession(w, r, out.hint.SID)
	p.leave(w, r, out.target, out.state)
}

// leave sends the browser to a registered target, or shows the signed-out page if target is
// empty.
func (p *Provider) leave(w http.ResponseWriter, r *http.Request, target, state string) {
	if target == "" {
		p.page(w, r, http.StatusOK, signedOutPage(p.frame()))
		return
	}
	values := url.Values{}
	if state != "" {
		values.Set("state", state)
	}
	redirect(w, target, values)
}

// auth0Logout serves Auth0's /v2/logout, for tenants without an end_session_endpoint. It
// asks for no confirmation and redirects to registered URLs only.
func (p *Provider) auth0Logout(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	p.endBrowserSession(w, r, "")
	target := values.Get("returnTo")
	client, _ := p.client(values.Get("client_id"))
	if checkSingle(values) != nil || !slices.Contains(client.PostLogoutRedirectURIs, target) {
		target = ""
	}
	p.leave(w, r, target, "")
}

// endBrowserSession ends the provider session in this browser and, if sid names another
// session, that one too. It notifies the clients of both.
func (p *Provider) endBrowserSession(w http.ResponseWriter, r *http.Request, sid string) {
	current, ok := p.currentSession(r)
	if ok && current.SID != sid {
		p.endAndTell(current.SID)
	}
	if sid != "" {
		p.endAndTell(sid)
	}
	p.setCookie(w, "")
}

func (p *Provider) endAndTell(sid string) {
	if ended, ok := p.records.endSession(sid); ok {
		p.cfg.Log.Info("development provider: signed out", "sub", ended.Subject)
		p.tellClients(ended)
	}
}
