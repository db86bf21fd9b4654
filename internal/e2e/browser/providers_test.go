package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"latchkey/internal/apptest"
)

// TestChooseProvider chooses one of two development providers in a browser, by keyboard, with JavaScript
// and without, signs in there, and finds it first the next time.
func TestChooseProvider(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]bool{"with JavaScript": true, "without JavaScript": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := apptest.Start(t, "PROVIDERS=work,home", "SESSION_STORE=memory", "WORK_LABEL=Work", "HOME_LABEL=At home")
			issuers := a.Issuers()
			b := apptest.OpenBrowser(t, a)
			if !script {
				b.WithoutJavaScript()
			}
			b.Open("/profile")
			b.Wait(".choices")
			if got := b.Text(".choices"); !strings.HasPrefix(strings.TrimSpace(got), "Work") {
				t.Errorf("the choices are %q", got)
			}
			if script { // axe is one
				inBothColours(b, axe(t), "the page to choose on")
			}
			tabTo(b, `.choices a[href*="provider=home"]`)
			pressKey(b, kb.Enter)
			b.Wait(`button[id="person-` + apptest.Ada + `"]`)
			if !strings.HasPrefix(b.Path(), issuers[1]) {
				t.Errorf("the choice leads to %s, want %s", b.Path(), issuers[1])
			}
			b.Click(`button[id="person-` + apptest.Ada + `"]`)
			b.Wait("#profile-card")
			if b.Path() != "/profile" {
				t.Errorf("signing in ends at %s", b.Path())
			}
			b.SignOut()
			b.Wait("#qsLoginBtn")
			if got := b.Text("main"); !strings.Contains(got, "here and at the sign-in service") {
				t.Errorf("the sign-out did not reach the provider: %s", got)
			}
			b.Click("#qsLoginBtn")
			b.Wait(".choices")
			if got := strings.Join(strings.Fields(b.Text(".choices")), " "); !strings.HasPrefix(got, "At home Used last on this device") {
				t.Errorf("the choices are %q", got)
			}
		})
	}
}
