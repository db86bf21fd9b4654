package authn_test

import (
	"io"
	"net/http"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// The handler of a page that requires a session shows data from an API. Its context is that
// of a request whose session a middleware has loaded.
func ExampleTokenSource_Client() {
	var tokens *authn.TokenSource // the application's
	http.HandleFunc("GET /orders", func(w http.ResponseWriter, r *http.Request) {
		resp, err := tokens.Client(r.Context()).Get("https://api.example.com/orders")
		switch {
		case openid.ReasonOf(err) == authn.ReasonSessionEnded:
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		case err != nil:
			http.Error(w, "The orders cannot be shown now.", http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	})
}
