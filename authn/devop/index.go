package devop

import (
	"net/http"
)

// frame is what every page needs: URLs, as paths, since the origin is always the
// issuer's, and the trouble that is being made.
type frame struct {
	Issuer, Base             string
	Stylesheet, Script, Icon string
	Trouble                  []string
}

func (p *Provider) frame() frame {
	return frame{
		Issuer: p.cfg.Issuer, Base: p.base,
		Stylesheet: p.base + "/" + p.assets.css, Script: p.base + "/" + p.assets.script, Icon: p.base + "/" + p.assets.icon,
		Trouble: p.trouble.being(),
	}
}

// index is the workbench: what this is, who is signed in, and what can be made of it.
func (p *Provider) index(w http.ResponseWriter, r *http.Request) {
	p.page(w, r, http.StatusOK, indexPage(p.indexProps(p.who(r), "")))
}

// indexProps is what the workbench shows.
type indexProps struct {
	Frame   frame
	Who     Person
	Clients []Client
	Notice  string
	KeyID   string // of the key that signs
}

func (p *Provider) indexProps(who Person, notice string) indexProps {
	return indexProps{Frame: p.frame(), Who: who, Clients: p.cfg.Clients, Notice: notice, KeyID: p.records.keys()[0].id}
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
	p.page(w, r, http.StatusOK, indexPage(p.indexProps(Person{}, notice)))
}
