package devop

import (
	"net/http"
)

// frame is what every page needs: the active faults, and URLs, which are paths because the
// origin is always the issuer's.
type frame struct {
	Issuer, Base             string
	Stylesheet, Script, Icon string
	Faults                   []string
	Initials                 func(name string) string
}

func (p *Provider) frame() frame {
	return frame{
		Issuer: p.cfg.Issuer, Base: p.base,
		Stylesheet: p.base + "/" + p.assets.css, Script: p.base + "/" + p.assets.script, Icon: p.base + "/" + p.assets.icon,
		Faults: p.workbench.active(), Initials: p.cfg.Initials,
	}
}

// index serves the workbench: who is signed in, and the faults that can be injected.
func (p *Provider) index(w http.ResponseWriter, r *http.Request) {
	p.page(w, r, http.StatusOK, indexPage(p.indexProps(p.who(r), "")))
}

// indexProps is what the workbench shows.
type indexProps struct {
	Frame   frame
	Who     Person
	Clients []Client
	Notice  string
	KeyID   string // of the signing key
}

func (p *Provider) indexProps(who Person, notice string) indexProps {
	return indexProps{Frame: p.frame(), Who: who, Clients: p.cfg.Clients, Notice: notice, KeyID: p.records.keys()[0].id}
}

// signOut ends the provider's session from the workbench. With "tell", it notifies the
// clients and shows any failure. Without, they find out when they next call the provider.
func (p *Provider) signOut(w http.ResponseWriter, r *http.Request) {
	values, err := readForm(r)
	if err != nil {
		p.refuseForm(w, r, err)
		return
	}
	current, ok := p.currentSession(r)
	p.setCookie(w, "")
	notice := "No one was signed in here."
	if ok {
		p.records.endSession(current.SID)
		notice = "Signed out of the provider. The application wasn't told."
	}
	if ok && values.Get("tell") != "" {
		notice = "Signed out of the provider, and the application was told."
		if err := p.sendLogout(r.Context(), p.participants(current), current.Subject, current.SID); err != nil {
			notice = "Signed out of the provider, but not of every application: " + err.Error()
		}
	}
	p.page(w, r, http.StatusOK, indexPage(p.indexProps(Person{}, notice)))
}
