package apptest

import (
	"crypto/tls"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"testing"

	"latchkey/internal/scriptedop"
)

// Device is a browser that knows Device Bound Session Credentials, with a key in software. It registers
// and renews only when its test says so.
type Device struct {
	*Visitor
	Key scriptedop.Key
	// Offer is what the last sign-in has offered, and Session and Challenge are what the app has said
	// last of the bound session.
	Offer              DeviceOffer
	Session, Challenge string
	// mu guards them where several requests are under way. The copies of a Device share it.
	mu *sync.Mutex
}

// DeviceOffer is the offer to register a key.
type DeviceOffer struct{ Challenge, Authorization string }

// Proof is a proof of a device that is about to be sent.
type Proof struct {
	*scriptedop.JWT
	// Headers are those of the request.
	Headers map[string]string
}

// NewDevice returns a browser with a key. It trusts every certificate.
func NewDevice(s *Scripted) *Device {
	d := &Device{Visitor: s.Visitor(), Key: scriptedop.NewKey("", "ES256"), mu: new(sync.Mutex)}
	transport := s.transport.Clone()
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	s.T.Cleanup(transport.CloseIdleConnections)
	d.Client.Transport = deviceTransport{transport, d}
	return d
}

// SignIn signs in, and takes the offer to register a key.
func (d *Device) SignIn(s *Scripted) *Device {
	d.T.Helper()
	d.Offer = DeviceOffer{}
	s.SignIn(d.Visitor)
	return d
}

// Bind registers the key for the session of the last offer, without any cookie, as Chromium does. The
// test may edit the proof.
func (d *Device) Bind(edit ...func(*Proof)) Answer {
	d.T.Helper()
	p := d.proof(map[string]any{"jti": d.Offer.Challenge, "authorization": d.Offer.Authorization})
	p.Header["jwk"] = PublicJWK(d.Key)
	bare := *d.Client
	bare.Jar = &responseJar{bare.Jar}
	return (&Visitor{T: d.T, App: d.App, Client: &bare}).sendProof("/session/bind", p, edit)
}

// Renew sends a proof that answers the last challenge.
func (d *Device) Renew(edit ...func(*Proof)) Answer {
	d.T.Helper()
	d.mu.Lock()
	session, challenge := d.Session, d.Challenge
	d.mu.Unlock()
	p := d.proof(map[string]any{"jti": challenge})
	p.Headers["Sec-Secure-Session-Id"] = session
	return d.sendProof("/session/renew", p, edit)
}

// AskForChallenge renews without a proof.
func (d *Device) AskForChallenge() Answer {
	d.T.Helper()
	return d.Direct(d.Request(http.MethodPost, "/session/renew", nil, "Sec-Fetch-Site", "same-origin", "Origin", d.App.URL, "Sec-Secure-Session-Id", d.Session))
}

func (d *Device) proof(claims map[string]any) *Proof {
	return &Proof{
		JWT:     &scriptedop.JWT{Key: d.Key, Header: map[string]any{"typ": "dbsc+jwt"}, Claims: claims},
		Headers: map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": d.App.URL},
	}
}

func (v *Visitor) sendProof(path string, p *Proof, edit []func(*Proof)) Answer {
	v.T.Helper()
	p.Headers = maps.Clone(p.Headers)
	for _, change := range edit {
		change(p)
	}
	req := v.Request(http.MethodPost, path, nil, "Secure-Session-Response", p.Compact())
	for name, value := range p.Headers {
		req.Header.Set(name, value)
	}
	return v.Direct(req)
}

// PublicJWK returns a key as a browser writes it.
func PublicJWK(key scriptedop.Key) map[string]any {
	jwk := key.JWK()
	delete(jwk, "use")
	return jwk
}

// At returns the same browser at another node of the app.
func (d *Device) At(node *Scripted) *Device {
	moved := *d
	moved.Visitor = d.Visitor.At(node.App)
	moved.Client.Transport = deviceTransport{node.App.Visitor().Client.Transport, d}
	return &moved
}

// CookieValue returns the value of a cookie of the app.
func (d *Device) CookieValue(base string) string {
	d.T.Helper()
	for _, c := range d.Client.Jar.Cookies(d.Request(http.MethodGet, "/", nil).URL) {
		if c.Name == d.App.CookieName(base) {
			return c.Value
		}
	}
	d.T.Fatalf("there is no cookie %q", base)
	return ""
}

// SetCookie replaces the value of a cookie of the app.
func (d *Device) SetCookie(base, value string) {
	d.T.Helper()
	d.Client.Jar.SetCookies(d.Request(http.MethodGet, "/", nil).URL, []*http.Cookie{{Name: d.App.CookieName(base), Value: value, Path: "/", Secure: true}})
}

// DropProof deletes the cookie that proves the key, as a browser does when it expires.
func (d *Device) DropProof() {
	d.T.Helper()
	address := d.Request(http.MethodGet, "/", nil).URL
	d.Client.Jar.SetCookies(address, []*http.Cookie{{Name: d.App.CookieName("bound"), Path: "/", MaxAge: -1}})
}

// Copy returns another browser that has all cookies of this one, and not its key.
func (d *Device) Copy(t *testing.T) *Visitor {
	t.Helper()
	thief := d.App.Visitor()
	address := d.Request(http.MethodGet, "/", nil).URL
	var copies []*http.Cookie
	for _, c := range d.Client.Jar.Cookies(address) {
		copies = append(copies, &http.Cookie{Name: c.Name, Value: c.Value, Path: "/", Secure: true})
	}
	thief.Client.Jar.SetCookies(address, copies)
	return thief
}

// responseJar keeps cookies, and sends none.
type responseJar struct{ http.CookieJar }

// Cookies implements http.CookieJar.
func (*responseJar) Cookies(*url.URL) []*http.Cookie { return nil }

// deviceTransport notes what responses say to a device.
type deviceTransport struct {
	http.RoundTripper
	device *Device
}

var (
	offered    = regexp.MustCompile(`^\(ES256\);path="/session/bind";challenge="([\w-]+)";authorization="([\w-]+)"$`)
	challenged = regexp.MustCompile(`^"([\w-]+)";id="([\w-]+)"$`)
)

// RoundTrip implements http.RoundTripper.
func (t deviceTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	t.device.mu.Lock()
	defer t.device.mu.Unlock()
	if m := offered.FindStringSubmatch(resp.Header.Get("Secure-Session-Registration")); m != nil {
		t.device.Offer = DeviceOffer{m[1], m[2]}
	}
	if m := challenged.FindStringSubmatch(resp.Header.Get("Secure-Session-Challenge")); m != nil {
		t.device.Challenge, t.device.Session = m[1], m[2]
	}
	return resp, nil
}
