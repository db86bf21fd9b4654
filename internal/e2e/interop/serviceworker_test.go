package interop

import (
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"

	"latchkey/internal/apptest"
)

// TestServiceWorker (AR-11) signs in and out, in a browser, at an app whose service worker passes
// every request on, as that of an installable app does while it is online. A script of a page still
// starts no sign-in.
func TestServiceWorker(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ script, login string }{
		"passing on": {
			script: `addEventListener("fetch", e => e.respondWith(fetch(e.request)));`,
			login:  "empty navigate",
		},
		"with navigation preload": {
			script: `addEventListener("activate", e => e.waitUntil(registration.navigationPreload.enable()));
				addEventListener("fetch", e => e.respondWith(Promise.resolve(e.preloadResponse).then(r => r || fetch(e.request))));`,
			login: "document navigate",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := apptest.Assemble(t)
			logins := serveWorker(s, tt.script)
			b := apptest.OpenBrowser(t, s.App)
			b.Open("/")
			apptest.Evaluate[bool](b, `navigator.serviceWorker.register("/worker.js"), true`)
			b.Until(`navigator.serviceWorker.controller?.state === "activated"`)

			b.Open("/profile?tab=1")
			b.Wait(".account-button")
			if b.Path() != "/profile?tab=1" {
				t.Errorf("signing in ends at %s", b.Path())
			}
			if got := logins(); !slices.Equal(got, []string{tt.login}) {
				t.Errorf("the sign-in page was requested as %q, want %q", got, tt.login)
			}
			b.SignOut()
			b.Wait("#qsLoginBtn")

			b.AllowComplaint("the server responded with a status of 400")
			apptest.Evaluate[bool](b, `fetch("/login").then(answer => document.body.dataset.login = answer.status), true`)
			b.Until(`document.body.dataset.login === "400"`)
			if got := logins(); !slices.Equal(got, []string{tt.login, "empty cors"}) {
				t.Errorf("the script requested the sign-in page as %q", got)
			}
		})
	}
}

// serveWorker serves a service worker in front of an app, with the app's headers. It returns a
// function that lists the Sec-Fetch-Dest and Sec-Fetch-Mode of all requests to /login.
func serveWorker(s *apptest.Scripted, script string) (logins func() []string) {
	var mu sync.Mutex
	var list []string
	app := s.Server.Config.Handler
	policy := s.Visitor().Get("/").Header.Get("Content-Security-Policy")
	s.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/worker.js":
			w.Header().Set("Content-Type", "text/javascript")
			w.Header().Set("Content-Security-Policy", policy)
			_, _ = io.WriteString(w, `addEventListener("install", () => skipWaiting());
				addEventListener("activate", e => e.waitUntil(clients.claim()));
				`+script)
			return
		case "/login":
			mu.Lock()
			list = append(list, r.Header.Get("Sec-Fetch-Dest")+" "+r.Header.Get("Sec-Fetch-Mode"))
			mu.Unlock()
		}
		app.ServeHTTP(w, r)
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(list)
	}
}
