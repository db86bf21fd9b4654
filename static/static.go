// Package static holds the app's assets and serves them. A name carries the hash
// of its content, so that a browser may keep what it has for ever and a change is
// seen at once.
//
// htmx.min.js is htmx 4.0.1, unchanged, under the licence in htmx.LICENSE.txt; a
// test pins its hash.
package static

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// Prefix is the path under which the assets are served.
const Prefix = "/static/"

//go:embed app.css app.js reload.js session.js htmx.min.js icon.svg robots.txt
var files embed.FS

// contentTypes says what each kind of file is. A kind that is not here is not served.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml; charset=utf-8",
	".txt": "text/plain; charset=utf-8",
}

// Assets is an http.Handler for the embedded files. It is safe for concurrent use.
type Assets struct {
	byName map[string]*asset // app.css
	byPath map[string]*asset // /static/app.3f2a9c….css
}

type asset struct {
	path        string
	contentType string
	plain       encoding
	gzip        encoding // its body is nil where gzip saves nothing
}

// encoding is one form of a content, with the entity tag of that form.
type encoding struct {
	body []byte
	etag string
}

// New reads the embedded files, names them by their hash and compresses them. It
// fails only where a file is embedded whose kind is unknown.
func New() (*Assets, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("static: %w", err)
	}
	a := &Assets{byName: map[string]*asset{}, byPath: map[string]*asset{}}
	for _, e := range entries {
		f, err := load(e.Name())
		if err != nil {
			return nil, fmt.Errorf("static: %s: %w", e.Name(), err)
		}
		a.byName[e.Name()] = f
		a.byPath[f.path] = f
	}
	return a, nil
}

func load(name string) (*asset, error) {
	body, err := files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	ext := path.Ext(name)
	contentType, known := contentTypes[ext]
	if !known {
		return nil, fmt.Errorf("no content type for %q", ext)
	}
	if !strings.HasSuffix(name, ".min"+ext) {
		body = trimmed(ext, body)
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:8])
	f := &asset{
		path:        Prefix + strings.TrimSuffix(name, ext) + "." + hash + ext,
		contentType: contentType,
		plain:       encoding{body, strconv.Quote(hash)},
	}
	compressed, err := compress(body)
	if err != nil {
		return nil, err
	}
	if len(compressed) < len(body) {
		f.gzip = encoding{compressed, strconv.Quote(hash + "-gzip")}
	}
	return f, nil
}

func compress(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// URL returns the path of an asset, /static/app.3f2a9c….css for "app.css". A name
// that is not embedded is a mistake in the program, and URL panics.
func (a *Assets) URL(name string) string {
	f, ok := a.byName[name]
	if !ok {
		panic(fmt.Sprintf("static: no asset is named %q", name))
	}
	return f.path
}

// ServeHTTP serves the hashed names under Prefix, to be kept for a year, and
// answers 404 to every other path.
//
// The path is compared as it was sent: an encoded dot or slash, a second slash or
// a dot segment never equals a name, and so needs no cleaning.
func (a *Assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := a.byPath[r.URL.EscapedPath()]
	if !ok {
		w.Header().Set("Cache-Control", "no-store")
		http.NotFound(w, r)
		return
	}
	f.serve(w, r, "public, max-age=31536000, immutable")
}

// Unhashed serves one asset at whatever path it is mounted, for the names that
// browsers and crawlers ask for unprompted: icon.svg at /favicon.ico, robots.txt
// at /robots.txt. A copy is kept for a day. It panics as URL does.
func (a *Assets) Unhashed(name string) http.Handler {
	f := a.byPath[a.URL(name)]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.serve(w, r, "public, max-age=86400")
	})
}

// serve leaves If-None-Match, HEAD and ranges to http.ServeContent. The name and
// the time that it is given are empty: the type is known, and the entity tag is
// the better validator.
func (f *asset) serve(w http.ResponseWriter, r *http.Request, cacheControl string) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", cacheControl)
	chosen := f.plain
	if f.gzip.body != nil {
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Values("Accept-Encoding")) {
			chosen = f.gzip
			h.Set("Content-Encoding", "gzip")
			h.Set("Content-Length", strconv.Itoa(len(chosen.body)))
		}
	}
	h.Set("ETag", chosen.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(chosen.body))
}
