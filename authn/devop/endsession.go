package devop

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
)

// logout is a logout request (OpenID Connect RP-Initiated Logout 1.0 section 2).
type logout struct {
	hint     idTokenHint // zero without one
	target   string      // where the browser goes afterwards; "" stays here
	clientID string
	state    string
}

// endSession signs out at once where the ID token hint belongs to the person who is
// signed in here, and asks first otherwise: a link on any page could lead here.
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

// confirmEndSession is the answer "yes" of the page that asks.
func (p *Provider) confirmEndSession(w http.ResponseWriter, r *http.Request) {
	out, ok := p.takeLogout(w, r)
	if !ok {
		return
	}
	out.hint = idTokenHint{}
	p.finishLogout(w, r, out)
}

// takeLogout reads the request, or answers that it is refused.
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

// readLogout returns the request, or the reason for refusing it. A redirect is made
// only to a URI that is registered for the client, exactly as it stands there
// (section 3).
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
		return logout{}, "The post_logout_redirect_uri is not registered for this client. It must be exactly one of those that are, " +
			"and come with an id_token_hint or a client_id."
	}
	return out, ""
}

// finishLogout ends the session of this browser and that of the hint.
func (p *Provider) finishLogout(w http.ResponseWriter, r *http.Request, out logout) {
	p.endBrowserSession(w, r, out.hint.SID)
	p.leave(w, r, out.target, out.state)
}

// leave sends the browser to a registered target, or shows that it is signed out.
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

// auth0Logout is how Auth0 signs out without an end_session_endpoint: it asks
// nothing, and returns to a registered URL only.
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

// endBrowserSession ends the provider's session of this browser and, where it is
// another one, that of the sid. It tells the clients of both.
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
