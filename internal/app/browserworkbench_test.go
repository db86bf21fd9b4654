package app_test

import (
	"testing"

	"latchkey/internal/apptest"
)

// TestBrowserWorkbench presses a button of the development provider's workbench in a
// browser, and has axe look at what it shows then.
func TestBrowserWorkbench(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	b := apptest.OpenBrowser(t, a)
	source := axe(t)
	narrow(b, "/")
	b.Click(".development a")
	b.Wait("#make-nonce")
	b.Click("#make-nonce")
	b.Wait("#stop-trouble")
	fits(b, "the workbench")
	inBothColours(b, source, "the workbench")
	narrow(b, "/login")
	inBothColours(b, source, "the sign-in page, with trouble")
	b.Click("#stop-trouble")
	b.Wait("#make-nonce")
	if there := apptest.Evaluate[bool](b, `document.getElementById("trouble") !== null`); there {
		t.Error("there is trouble still")
	}
}
