package routes_test

import (
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// TestNotes signs in as the sample person Ada and opens her notes.
func TestNotes(t *testing.T) {
	t.Parallel()
	page := apptest.Start(t).Visitor().SignIn("/notes", apptest.Ada)
	if page.StatusCode != http.StatusOK || !strings.Contains(page.Body, "Notes of <bdi>Ada Lovelace</bdi>") {
		t.Errorf("the notes answer %s\n%s", page.Status, page.Body)
	}
}
