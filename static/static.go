// Package static embeds the app's assets and serves them. Each name contains the hash of the
// content, so that browsers can cache an asset for ever and still see a change at once.
//
// htmx.min.js is htmx 4.0.1, unchanged, under the licence in htmx.LICENSE.txt. A test pins its hash. It
// is more than half of a page's weight, so htmx.min.js.br has it in Brotli, made by "brotli -q 11".
package static

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Prefix is the path prefix of the assets.
const Prefix = "/static/"

// brotliExt is the extension of a file that holds another embedded file, compressed with Brotli.
const brotliExt = ".br"

//go:embed app.css devices.css forms.css front.css gallery.css profile.css app.js claims.js devices.js reload.js session.js htmx.min.js htmx.min.js.br icon.svg touch-icon.png robots.txt
var files embed.FS

// contentTypes maps file extensions to media types. New refuses any other extension.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".png": "image/png",
	".svg": "image/svg+xml; charset=utf-8",
	".txt": "text/plain; charset=utf-8",

	".webmanifest": "application/manifest+json",
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
	// compressed has the smaller encodings, the smallest first. It compresses the content when it is
	// first requested.
	compressed func() []encoding
}

// encoding is an asset's content in a content coding, "" for none, with its entity tag.
type encoding struct {
	coding string
	body   []byte
	etag   string
}

// Source returns an embedded file as it is, or nil if there is none.
func Source(name string) []byte {
	body, _ := files.ReadFile(name)
	return body
}

// New reads and hashes the embedded files. Generated files, by name, are served like embedded ones,
// or in the place of one. New fails only if a file has an extension that is not in contentTypes.
func New(generated map[string][]byte) (*Assets, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("static: %w", err)
	}
	bodies := maps.Clone(generated)
	if bodies == nil {
		bodies = map[string][]byte{}
	}
	for _, e := range entries {
		if bodies[e.Name()] == nil {
			bodies[e.Name()] = Source(e.Name())
		}
	}
	a := &Assets{byName: map[string]*asset{}, byPath: map[string]*asset{}}
	for name, body := range bodies {
		if strings.HasSuffix(name, brotliExt) {
			continue
		}
		f, err := newAsset(name, body, bodies[name+brotliExt])
		if err != nil {
			return nil, fmt.Errorf("static: %s: %w", name, err)
		}
		a.byName[name], a.byPath[f.path] = f, f
	}
	return a, nil
}

func newAsset(name string, body, brotli []byte) (*asset, error) {
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
	etag := func(suffix string) string { return strconv.Quote(hash + suffix) }
	return &asset{
		path:        Prefix + strings.TrimSuffix(name, ext) + "." + hash + ext,
		contentType: contentType,
		plain:       encoding{"", body, etag("")},
		compressed: sync.OnceValue(func() (list []encoding) {
			if brotli != nil {
				list = append(list, encoding{"br", brotli, etag("-br")})
			}
			if compressed := compress(body); len(compressed) < len(body) {
				list = append(list, encoding{"gzip", compressed, etag("-gzip")})
			}
			return list
		}),
	}, nil
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // which is a valid level
	_, _ = w.Write(body)                                  // a buffer accepts every write
	_ = w.Close()
	return b.Bytes()
}

// URL returns the path of an asset: /static/app.3f2a9c….css for "app.css". It panics if the name is
// not embedded.
func (a *Assets) URL(name string) string {
	f, ok := a.byName[name]
	if !ok {
		panic(fmt.Sprintf("static: no asset is named %q", name))
	}
	return f.path
}

// ServeHTTP serves the hashed names under Prefix, which may be cached for a year. It answers 404 to
// any other path.
//
// It compares the path as it was sent. A path with an encoded dot or slash, a double slash or a dot
// segment matches no name, so no cleaning is needed.
func (a *Assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := a.byPath[r.URL.EscapedPath()]
	if !ok {
		w.Header().Set("Cache-Control", "no-store")
		http.NotFound(w, r)
		return
	}
	f.serve(w, r, "public, max-age=31536000, immutable")
}

// Unhashed returns a handler that serves one asset at any path. It is for paths that browsers and
// crawlers request by convention, such as /favicon.ico and /robots.txt. The response may be cached
// for a day. Unhashed panics if the name is not embedded.
func (a *Assets) Unhashed(name string) http.Handler {
	f := a.byPath[a.URL(name)]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.serve(w, r, "public, max-age=86400")
	})
}

// serve answers with an asset. http.ServeContent handles If-None-Match, HEAD and ranges. It gets no
// name and no time, because the media type is set and the entity tag is the better validator.
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
	if compressed := f.compressed(); len(compressed) > 0 {
		h.Set("Vary", "Accept-Encoding")
		accepted := func(e encoding) bool { return accepts(r.Header.Values("Accept-Encoding"), e.coding) }
		if i := slices.IndexFunc(compressed, accepted); i >= 0 {
			chosen = compressed[i]
			h.Set("Content-Encoding", chosen.coding)
			h.Set("Content-Length", strconv.Itoa(len(chosen.body)))
		}
	}
	h.Set("ETag", chosen.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(chosen.body))
}
