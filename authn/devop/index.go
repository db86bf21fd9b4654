package devop

import (
	"net/http"
)

// links are the URLs that pages need. Paths, as the origin is always the issuer's.
type links struct {
	Issuer, Base             string
	Stylesheet, Script, Icon string
}

func (p *Provider) links() links {
	return links{
		Issuer: p.cfg.Issuer, Base: p.base,
		Stylesheet: p.base + "/" + p.assets.css, Script: p.base + "/" + p.assets.script, Icon: p.base + "/" + p.assets.icon,
	}
}

// index says what this is and who is signed in.
func (p *Provider) index(w http.ResponseWriter, r *http.Request) {
	p.page(w, r, http.StatusOK, indexPage(p.links(), p.who(r), p.cfg.Clients, ""))
}

// signOut ends the provider's session from its own page. With "tell", the clients
// are told and their answers shown; without, they go on until they ask.
func (p *Provider) signOut(w http.ResponseWriter, r *http.Request) {
	values, err := readForm(r)
	if err != nil {
		p.refuseForm(w, r, err)
		return
	}
	current, ok := p.currentSession(r)
	p.setCookie(w, "")
	notice := "Nobody was signed in here."
	if ok {
		p.records.endSession(current.SID)
		notice = "Signed out here. The application was not told."
	}
	if ok && values.Get("tell") != "" {
		notice = "Signed out here, and the application was told."
		if err := p.sendLogout(r.Context(), p.participants(current), current.Subject, current.SID); err != nil {
			notice = "Signed out here, but not everywhere: " + err.Error()
		}
	}
	p.page(w, r, http.StatusOK, indexPage(p.links(), Person{}, p.cfg.Clients, notice))
}
