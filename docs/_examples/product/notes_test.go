package product_test

import (
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/apptest"
	"latchkey/internal/product"
)

// TestNotes signs in as the sample person Ada and opens her notes.
func TestNotes(t *testing.T) {
	t.Parallel()
	page := apptest.StartProduct(t, product.New()).Visitor().SignIn("/notes", apptest.Ada)
	if page.StatusCode != http.StatusOK || !strings.Contains(page.Body, "Notes of <bdi>Ada Lovelace</bdi>") {
		t.Errorf("the notes answer %s\n%s", page.Status, page.Body)
	}
}

// TestNotesInTheBrowser reads the notes again, without leaving the page.
func TestNotesInTheBrowser(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.StartProduct(t, product.New()))
	b.SignIn("/notes", apptest.Ada)
	apptest.Evaluate[bool](b, `window.samePage = document.getElementById("notes").old = true`)
	b.Click("#notes-again")
	b.Until(`window.samePage && !document.getElementById("notes").old`)
	if got := b.Text("#notes h2"); got != "Notes of Ada Lovelace" {
		t.Errorf("the heading is %q", got)
	}
}
