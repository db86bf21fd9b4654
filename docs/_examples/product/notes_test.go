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
