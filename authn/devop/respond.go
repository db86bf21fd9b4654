package devop

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/a-h/templ"
)

// oauthError is a protocol error: a code of RFC 6749 or an extension, and a description for
// the developer.
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// Error implements error.
func (e oauthError) Error() string { return e.Code + ": " + e.Description }

func fail(code, description string) error { return oauthError{Code: code, Description: description} }

// readForm returns the parameters of the query, or of the body of a POST.
func readForm(r *http.Request) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if r.Method == http.MethodPost {
		err = r.ParseForm()
		values = r.PostForm
	}
	if err != nil {
		return url.Values{}, fmt.Errorf("devop: reading parameters: %w", err)
	}
	return values, nil
}

// checkSingle returns invalid_request if a parameter occurs more than once (RFC 6749
// sections 3.1 and 3.2). Only resource may, once for each API (RFC 8707 section 2).
func checkSingle(values url.Values) error {
	for name, all := range values {
		if len(all) > 1 && name != "resource" {
			return fail("invalid_request", "duplicate parameter: "+printable(name))
		}
	}
	return nil
}

// printable replaces the characters that error_description may not contain (RFC 6749
// section 5.2) and truncates the result.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 100)]
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		http.Error(w, "the response cannot be encoded as JSON", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// writeError sends an error to a program that called an endpoint (RFC 6749 section 5.2).
func (p *Provider) writeError(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusBadRequest
	var protocol oauthError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		status, protocol = http.StatusRequestEntityTooLarge, oauthError{"invalid_request", "the body is too large"}
	case !errors.As(err, &protocol) && errors.Is(err, errGrant):
		protocol = oauthError{"invalid_grant", "unknown, expired, already used, or another client's"}
	case !errors.As(err, &protocol) && errors.Is(err, errServer):
		status, protocol = http.StatusInternalServerError, oauthError{"server_error", "see the provider's log"}
	case !errors.As(err, &protocol):
		protocol = oauthError{"invalid_request", "the parameters cannot be parsed"}
	}
	if protocol.Code == "invalid_client" {
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Basic realm="devop"`)
	}
	if status == http.StatusInternalServerError {
		p.cfg.Log.Error("development provider: request failed", "path", r.URL.Path, "error", err)
	} else {
		p.cfg.Log.Warn("development provider: request refused", "path", r.URL.Path, "error", protocol)
	}
	writeJSON(w, status, protocol)
}

// errServer marks an error that is not the caller's fault.
var errServer = errors.New("devop: internal error")

// page sends one of the provider's own pages. It renders the whole page before it writes
// the status.
func (p *Provider) page(w http.ResponseWriter, r *http.Request, status int, page templ.Component) {
	var buf bytes.Buffer
	if err := page.Render(r.Context(), &buf); err != nil {
		p.cfg.Log.Error("development provider: page not rendered", "error", err)
		http.Error(w, "This page could not be rendered.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = buf.WriteTo(w)
}

// refuse shows the reason on a page of its own, to a person who is presumably a developer.
// It does not redirect, because nothing may be sent to an unregistered redirect URI.
func (p *Provider) refuse(w http.ResponseWriter, r *http.Request, reason string) {
	p.cfg.Log.Warn("development provider: request refused", "path", r.URL.Path, "reason", reason)
	p.page(w, r, http.StatusBadRequest, errorPage(p.frame(), reason))
}

// refuseForm is refuse for parameters that readForm cannot read.
func (p *Provider) refuseForm(w http.ResponseWriter, r *http.Request, err error) {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		p.page(w, r, http.StatusRequestEntityTooLarge, errorPage(p.frame(), "The form is larger than 64 KiB."))
		return
	}
	p.refuse(w, r, "The parameters of this request cannot be parsed.")
}

//go:embed devop.css formpost.js icon.svg
var assetFiles embed.FS

// assets are embedded files whose names change with their content.
type assets struct {
	css, script, icon string
	files             map[string][]byte
}

func newAssets() *assets {
	a := &assets{files: make(map[string][]byte)}
	for name, hashed := range map[string]*string{"devop.css": &a.css, "formpost.js": &a.script, "icon.svg": &a.icon} {
		data, _ := assetFiles.ReadFile(name) // embedded above
		sum := sha256.Sum256(data)
		base, ext, _ := strings.Cut(name, ".")
		*hashed = base + "." + hex.EncodeToString(sum[:6]) + "." + ext
		a.files[*hashed] = data
	}
	return a
}

func (p *Provider) asset(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	w.Header().Set("Content-Type", types[path.Ext(name)])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(p.assets.files[name])
}
