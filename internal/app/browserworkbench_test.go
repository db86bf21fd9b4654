package app

import "testing"

// TestBrowserWorkbench presses a button of the development provider's workbench in a
// browser, and has axe look at what it shows then.
func TestBrowserWorkbench(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	b := openBrowser(t, a)
	source := axe(t)
	b.narrow("/")
	b.click(".development a")
	b.wait("#make-nonce")
	b.click("#make-nonce")
	b.wait("#stop-trouble")
	b.fits("the workbench")
	b.inBothColours(source, "the workbench")
	b.narrow("/login")
	b.inBothColours(source, "the sign-in page, with trouble")
	b.click("#stop-trouble")
	b.wait("#make-nonce")
	if there := evaluate[bool](b, `document.getElementById("trouble") !== null`); there {
		t.Error("there is trouble still")
	}
}
