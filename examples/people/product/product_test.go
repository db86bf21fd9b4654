package product_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"latchkey/examples/people/product"
	"latchkey/examples/people/product/pgtest"
	"latchkey/examples/people/product/store"
	"latchkey/internal/app"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// people is the program beside a provider that signs everyone in as the test says.
type people struct{ *apptest.Scripted }

// start starts the program with an empty SQLite database, or with the one that env names.
func start(t *testing.T, env ...string) people {
	t.Helper()
	op := apptest.NewOP(t)
	env = append(append([]string{"DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "people.db")}, apptest.Env(op)...), env...)
	p := people{&apptest.Scripted{App: apptest.StartProduct(t, product.New(), env...), OP: op}}
	p.Await("/readyz", http.StatusOK)
	return p
}

// is sets who signs in from now on, and what the provider says of them.
func (p people) is(subject, name, email string, roles ...string) {
	p.OP.SignInAs(subject)
	p.OP.Edit(scriptedop.UserInfo, func(claims map[string]any) {
		claims["name"], claims["email"], claims["email_verified"] = name, email, true
		claims["https://latchkey.example/roles"] = roles
	})
}

// account signs a visitor in, or finds them signed in, and returns the text of their account page.
func (p people) account(v *apptest.Visitor) string {
	p.T.Helper()
	page := v.Get("/account")
	if page.StatusCode != http.StatusOK || page.Request.URL.Path != "/account" {
		p.T.Fatalf("the account is at %s with %s\n%s\n%s", page.Request.URL, page.Status, page.Body, p.Log)
	}
	return apptest.Text(apptest.Parse(p.T, page.Body))
}

// wantAccount checks what the account page of a visitor says and does not say.
func (p people) wantAccount(v *apptest.Visitor, says, not string) {
	p.T.Helper()
	text, name := p.account(v), apptest.Attribute(apptest.ByID(apptest.Parse(p.T, v.Get("/account").Body), "name"), "value")
	if !strings.Contains(name+" "+text, says) || not != "" && strings.Contains(name+" "+text, not) {
		p.T.Errorf("the account says %s: %s; want %q and not %q", name, text, says, not)
	}
}

// TestAccount keeps a person's name and role in each database, also after a restart.
func TestAccount(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(*testing.T) string{
		"SQLite":     func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "people.db") },
		"PostgreSQL": pgtest.Start,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := "DATABASE_URL=" + address(t)
			p := start(t, database)
			p.is("ada", "Ada\x00 Lovelace\n", "ada@example.com")
			v := p.Visitor()
			p.wantAccount(v, "Ada  Lovelace", "")
			if saved := v.Press(v.Get("/account"), "save-name", "name", " Countess <b> "); !strings.Contains(saved.Body, "Your name is saved.") {
				t.Errorf("the form leads to %s\n%s", saved.Request.URL, saved.Body)
			}
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
			again := start(t, database, "OIDC_ISSUER="+p.OP.Issuer, "AUTH0_CLIENT_ID="+p.OP.ClientID, "AUTH0_CLIENT_SECRET="+p.OP.ClientSecret)
			again.OP = p.OP
			again.wantAccount(again.Visitor(), "Countess <b>", "")
		})
	}
}

// TestName checks what is entered, with htmx and without.
func TestName(t *testing.T) {
	t.Parallel()
	p := start(t)
	v := p.Visitor()
	p.account(v)
	for name, tt := range map[string]struct {
		entered, fault string
	}{
		"a name":            {"Grace Hopper", ""},
		"the longest":       {strings.Repeat("é", 60), ""},
		"nothing":           {"  ", "Enter a name."},
		"too much":          {strings.Repeat("é", 61), "at most 60 characters"},
		"control character": {"a\x00b", "without line breaks"},
		"broken UTF-8":      {"a\xffb", "without line breaks"},
	} {
		for _, htmx := range []bool{false, true} {
			var headers []string
			if htmx {
				headers = []string{"HX-Request", "true"}
			}
			got := v.Direct(v.Request(http.MethodPost, "/account", url.Values{"name": {tt.entered}}, append(headers, "Sec-Fetch-Site", "same-origin")...))
			want := http.StatusSeeOther
			switch {
			case tt.fault != "":
				want = http.StatusUnprocessableEntity
			case htmx:
				want = http.StatusOK
			}
			whole := strings.Contains(got.Body, "<html")
			if got.StatusCode == http.StatusSeeOther && !strings.Contains(v.Get(got.Header.Get("Location")).Body, "Your name is saved.") {
				t.Errorf("%s: the page does not say that it is saved", name)
			}
			if got.StatusCode != want || tt.fault != "" && !strings.Contains(got.Body, tt.fault) || whole != (want != http.StatusSeeOther && !htmx) {
				t.Errorf("%s, htmx %t: %s, a whole page: %t\n%s", name, htmx, got.Status, whole, got.Body)
			}
			if tt.fault != "" && strings.Contains(got.Body, "is saved") {
				t.Errorf("%s, htmx %t: it says that it is saved", name, htmx)
			}
		}
	}
}

// TestRoles lets managers, whom the product knows, and administrators, whom the provider knows, see
// everyone, and only administrators appoint.
func TestRoles(t *testing.T) {
	t.Parallel()
	p := start(t)
	member, admin := p.Visitor(), p.Visitor()
	p.is("grace", "Grace", "grace@example.com")
	p.account(member)
	if got := member.Get("/people"); got.StatusCode != http.StatusForbidden || !strings.Contains(got.Body, "This page is for managers.") || strings.Contains(got.Body, `id="people"`) {
		t.Errorf("a member gets %s\n%s", got.Status, got.Body)
	}
	p.is("root", "Rosa", "rosa@example.com", "admin")
	p.account(admin)
	list := admin.Get("/people")
	form := apptest.Find(apptest.Parse(t, list.Body), func(n *apptest.Node) bool {
		return n.Data == "button" && strings.Contains(apptest.Text(n), "Make manager") && strings.Contains(apptest.Text(n), "Grace")
	})
	if list.StatusCode != http.StatusOK || form == nil {
		t.Fatalf("an administrator gets %s\n%s", list.Status, list.Body)
	}
	id := apptest.Attribute(form, "id")
	values := url.Values{"user": {strings.TrimPrefix(id, "role-")}, "role": {"manager"}}
	if got := member.Post("/people/role", values); got.StatusCode != http.StatusForbidden {
		t.Errorf("a member appoints: %s", got.Status)
	}
	if got := admin.Press(list, id); got.StatusCode != http.StatusOK || !strings.Contains(got.Body, `Make member<span class="visually-hidden">: Grace</span>`) {
		t.Errorf("appointing leads to %s\n%s", got.Status, got.Body)
	}
	// At once, in the session that she has.
	if got := member.Get("/people"); got.StatusCode != http.StatusOK || strings.Contains(got.Body, "Make ") {
		t.Errorf("a manager gets %s\n%s", got.Status, got.Body)
	}
	if got := member.Post("/people/role", values); got.StatusCode != http.StatusForbidden {
		t.Errorf("a manager appoints: %s", got.Status)
	}
	values.Set("role", "owner")
	if got := admin.Post("/people/role", values); got.StatusCode != http.StatusBadRequest {
		t.Errorf("another role is answered %s", got.Status)
	}
}

// TestNoAccountByAddress is the attack on a product that knows people by their e-mail address: Mallory
// gets the provider to say the victim's address, and even that it is verified. They get an account of
// their own, whether they come after the victim or before.
func TestNoAccountByAddress(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][]string{"after the victim": {"ada", "mallory"}, "before the victim": {"mallory", "ada"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			visitors := map[string]*apptest.Visitor{}
			for _, subject := range order {
				v := p.Visitor()
				p.is(subject, "Ada Lovelace", "ada@example.com")
				p.account(v)
				v.Post("/account", url.Values{"name": {"The name of " + subject}})
				visitors[subject] = v
			}
			p.wantAccount(visitors["ada"], "The name of ada", "mallory")
			p.wantAccount(visitors["mallory"], "The name of mallory", "of ada")
		})
	}
}

// link presses the button on the account page, as the person who then signs in.
func (p people) link(v *apptest.Visitor, subject, name string) apptest.Answer {
	p.T.Helper()
	page := v.Get("/account")
	p.is(subject, name, subject+"@example.com")
	return v.Press(page, "link-sign-in")
}

// TestLink links a second identity, with which the person then signs in to the same account.
func TestLink(t *testing.T) {
	t.Parallel()
	p := start(t)
	v := p.Visitor()
	p.is("ada", "Ada", "ada@example.com")
	p.account(v)
	v.Post("/account", url.Values{"name": {"Countess"}})
	got := p.link(v, "ada-at-work", "Ada at work")
	if got.StatusCode != http.StatusOK || !strings.Contains(got.Body, "The sign-in is linked.") {
		t.Fatalf("it ends at %s with %s\n%s", got.Request.URL, got.Status, got.Body)
	}
	// Not the person whom the provider remembers: somebody has to act there.
	if prompt := p.OP.Last(scriptedop.Authorize).Query.Get("prompt"); prompt != "login" && prompt != "select_account" {
		t.Errorf("the provider is asked for the prompt %q", prompt)
	}
	p.wantAccount(v, "Ada at work ada-at-work@example.com in use", "Ada ada@example.com in use")
	for _, subject := range []string{"ada", "ada-at-work"} {
		p.is(subject, "Ada", "x@example.com")
		p.wantAccount(p.Visitor(), "Countess", "")
	}
	p.is("ada-at-work", "Ada", "x@example.com")
	if got := p.link(v, "ada", "Ada"); got.StatusCode != http.StatusOK {
		t.Errorf("linking one's own identity once more answers %s", got.Status)
	}
}

// TestLinkAttacks tries to link an identity in other ways. Nothing is linked, and nobody loses their
// session.
func TestLinkAttacks(t *testing.T) {
	t.Parallel()
	linking := func(p people, v *apptest.Visitor) (address string) {
		moving := v.Direct(v.Request(http.MethodPost, "/account/link", url.Values{}, "Sec-Fetch-Site", "same-origin"))
		if !strings.HasPrefix(moving.Next(), "/login?") {
			p.T.Fatalf("linking leads to %q with %s", moving.Next(), moving.Status)
		}
		return moving.Next()
	}
	for name, tt := range map[string]struct {
		attack func(p people, ada, mallory *apptest.Visitor) apptest.Answer
		status int
	}{
		"an address that another person made up": {func(_ people, ada, _ *apptest.Visitor) apptest.Answer {
			return ada.Get("/login?return_to=/account/linked/x&switch=1")
		}, http.StatusForbidden},
		"one without a proof": {func(_ people, ada, _ *apptest.Visitor) apptest.Answer {
			return ada.Get("/login?return_to=/account/linked/&switch=1")
		}, http.StatusForbidden},
		"an address of another session": {func(p people, ada, mallory *apptest.Visitor) apptest.Answer {
			return ada.Get(linking(p, mallory))
		}, http.StatusForbidden},
		"without a session": {func(p people, ada, _ *apptest.Visitor) apptest.Answer {
			return p.Visitor().Get(linking(p, ada))
		}, http.StatusForbidden},
		"an old link, with the session of a sign-in an hour ago": {func(p people, ada, _ *apptest.Visitor) apptest.Answer {
			address := linking(p, ada)
			p.is("ada", "Ada", "ada@example.com")
			p.signedInAnHourAgo(true)
			ada.Get("/login")
			p.signedInAnHourAgo(false)
			p.is("third", "Third", "third@example.com")
			return ada.Get(address)
		}, http.StatusForbidden},
		"a form of another site": {func(_ people, ada, _ *apptest.Visitor) apptest.Answer {
			return ada.Post("/account/link", nil, "Sec-Fetch-Site", "cross-site")
		}, http.StatusForbidden},
		"the identity of another account": {func(p people, ada, _ *apptest.Visitor) apptest.Answer {
			p.is("mallory", "Mallory", "m@example.com")
			return ada.Get(linking(p, ada))
		}, http.StatusConflict},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			ada, mallory := p.Visitor(), p.Visitor()
			p.is("mallory", "Mallory", "m@example.com")
			p.account(mallory)
			p.is("ada", "Ada", "ada@example.com")
			p.account(ada)
			p.is("third", "Third", "third@example.com")
			if got := tt.attack(p, ada, mallory); got.StatusCode != tt.status {
				t.Errorf("answered %s, want %d\n%s", got.Status, tt.status, got.Body)
			}
			p.wantAccount(ada, "Ada ada@example.com in use", "third")
			p.wantAccount(mallory, "Mallory m@example.com in use", "third")
			p.is("third", "Third", "third@example.com")
			p.wantAccount(p.Visitor(), "Third third@example.com in use", "ada@")
		})
	}
}

// signedInAnHourAgo makes the provider say so of sign-ins from now on.
func (p people) signedInAnHourAgo(yes bool) {
	p.OP.EditIDToken(func(token *scriptedop.JWT) {
		if yes {
			token.Claims["auth_time"] = time.Now().Add(-time.Hour).Unix()
		}
	})
}

// TestRecentSignIn asks for a sign-in before an identity is linked, or an account deleted, if the last
// one is older than ten minutes.
func TestRecentSignIn(t *testing.T) {
	t.Parallel()
	p := start(t)
	for button, question := range map[string]string{"link-sign-in": "Link another sign-in?", "delete-account": "Delete my account?"} {
		v := p.Visitor()
		p.signedInAnHourAgo(true)
		page := v.Get("/account")
		p.signedInAnHourAgo(false)
		if asked := v.Press(page, button); !strings.Contains(asked.Body, "<h1>"+question+"</h1>") {
			t.Errorf("%s leads to %s with %s\n%s", button, asked.Request.URL, asked.Status, asked.Body)
		}
	}
}

// TestDelete deletes a person's data. All of their sessions end, also those of a linked identity, and a
// sign-in after it begins with a new account.
func TestDelete(t *testing.T) {
	t.Parallel()
	p := start(t)
	here, there, grace := p.Visitor(), p.Visitor(), p.Visitor()
	p.is("grace", "Grace", "grace@example.com")
	p.account(grace)
	p.is("ada", "Ada", "ada@example.com")
	p.account(there)
	p.account(here)
	here.Post("/account", url.Values{"name": {"Countess"}})
	p.link(here, "ada-at-work", "Ada at work") // so that the sessions have different subjects
	if end := here.Press(here.Get("/account"), "delete-account"); end.StatusCode != http.StatusOK {
		t.Errorf("deleting ends at %s with %s", end.Request.URL, end.Status)
	}
	if here.SignedIn() || there.SignedIn() || !grace.SignedIn() {
		t.Errorf("signed in here: %t, there: %t, Grace: %t", here.SignedIn(), there.SignedIn(), grace.SignedIn())
	}
	p.is("ada", "Ada", "ada@example.com")
	// The provider counts in seconds, and a sign-in of the same second was under way. Too many attempts are
	// refused, too.
	tried := int64(0)
	apptest.Eventually(t, "a later sign-in", func() bool {
		now := time.Now().Unix()
		again := now != tried
		tried = now
		return again && p.Visitor().Get("/account").StatusCode == http.StatusOK
	})
	p.wantAccount(p.Visitor(), "Ada ada@example.com in use", "Countess")
}

// TestSessionWithoutUser ends a session whose user is gone from the database, and lets the person sign in
// again.
func TestSessionWithoutUser(t *testing.T) {
	t.Parallel()
	address := "sqlite:" + filepath.Join(t.TempDir(), "people.db")
	p := start(t, "DATABASE_URL="+address)
	v := p.Visitor()
	p.account(v)
	people, err := store.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer people.Close()
	everyone, err := people.Users(t.Context())
	if err != nil || len(everyone) != 1 {
		t.Fatalf("everyone is %v, error %v", everyone, err)
	}
	if _, err := people.Delete(t.Context(), everyone[0].ID); err != nil {
		t.Fatal(err)
	}
	if got := v.Direct(v.Request(http.MethodGet, "/account", nil)); got.StatusCode != http.StatusSeeOther || !strings.HasPrefix(got.Header.Get("Location"), "/login") || v.SignedIn() {
		t.Errorf("the account answers %s to %s", got.Status, got.Header.Get("Location"))
	}
	p.account(v)
}

// TestDatabaseAddress names the variable, and no password, if there is no such database.
func TestDatabaseAddress(t *testing.T) {
	t.Parallel()
	for address, configuration := range map[string]bool{"mysql://me:hunter2@db/people": true, "postgres://me:hunter2@127.0.0.1:1/people": false} {
		err := app.Program{Product: product.New()}.Run(t.Context(), nil, []string{"PORT=0", "DATA_DIR=" + t.TempDir(), "DATABASE_URL=" + address}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "DATABASE_URL") || strings.Contains(err.Error(), "hunter2") || errors.Is(err, app.ErrConfiguration) != configuration {
			t.Errorf("error %v", err)
		}
	}
}

// TestInTheBrowser clicks through the example with the development provider, on the file that `go run .`
// makes. axe finds nothing on its pages.
func TestInTheBrowser(t *testing.T) {
	t.Parallel()
	a := apptest.StartProduct(t, product.New(), "DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "people.db"))
	b := apptest.OpenBrowser(t, a)
	b.Do(chromedp.EmulateViewport(320, 800))
	b.AllowComplaint("422")
	b.SignIn("/account", apptest.Ada)
	b.Until(`document.readyState === "complete" && window.htmx !== undefined`)
	enter := func(name string) {
		t.Helper()
		apptest.Evaluate[string](b, `document.getElementById("name").value = "`+name+`"`)
		b.Click("#save-name")
	}
	apptest.Evaluate[bool](b, `window.stays = true`)
	enter("")
	b.Until(`document.activeElement.id === "form-errors"`)
	accessible(b, "the account, with an error")
	b.Click(`.form-errors [href="#name"]`)
	b.Until(`document.activeElement.id === "name" && document.activeElement.ariaInvalid === "true" &&
		document.getElementById("name-error").textContent === "Enter a name."`)
	enter("Countess")
	b.Until(`document.getElementById("notices").textContent.includes("Your name is saved.") && document.getElementById("form-errors") === null`)
	enter("") // the notice must not stay above the error
	b.Until(`document.getElementById("form-errors") !== null && document.getElementById("notices").childElementCount === 0`)
	enter("Countess")
	b.Until(`document.getElementById("notices").textContent.includes("Your name is saved.")`)
	if !apptest.Evaluate[bool](b, `window.stays === true`) {
		t.Error("the page was loaded again")
	}

	b.Click("#link-sign-in")
	b.Click(`button[id="person-dev|bare"]`)
	b.Until(`document.body?.textContent.includes("The sign-in is linked.")`)
	if got := apptest.Evaluate[string](b, `document.getElementById("name").value`); got != "Countess" {
		t.Errorf("after linking, the account is that of %q", got)
	}
	accessible(b, "the account")

	admin := b.Device()
	admin.SignIn("/people", "dev|roles")
	admin.Wait("#people")
	accessible(admin, "everyone")

	b.Click("#delete-account")
	b.Until(`document.querySelector("#qsLoginBtn, [id^='person-']") !== null`)
}

// TestWithoutJavaScript enters a name that is refused and one that is saved.
func TestWithoutJavaScript(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.StartProduct(t, product.New(), "DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "people.db")))
	b.WithoutJavaScript()
	b.AllowComplaint("422")
	b.SignIn("/account", apptest.Ada)
	b.Wait("#save-name")
	apptest.Evaluate[string](b, `document.getElementById("name").value = ""`)
	b.Click("#save-name")
	b.Until(`document.activeElement?.id === "form-errors"`)
	b.Click(`.form-errors [href="#name"]`)
	b.Until(`document.activeElement.id === "name"`)
	apptest.Evaluate[string](b, `document.getElementById("name").value = "Countess"`)
	b.Click("#save-name")
	b.Until(`document.getElementById("notices")?.textContent.includes("Your name is saved.")`)
}

// accessible runs axe-core on the current page, and checks that it is no wider than the screen.
func accessible(b *apptest.Browser, where string) {
	b.T.Helper()
	path := "internal/e2e/browser/testdata/axe/axe.min.js" // in the root of the repository
	source, err := os.ReadFile(path)
	for up := 0; err != nil && up < 4; up++ {
		path = filepath.Join("..", path)
		source, err = os.ReadFile(path)
	}
	if err != nil {
		b.T.Fatal(err)
	}
	apptest.Evaluate[bool](b, string(source)+`;
		window.found = undefined;
		axe.run(document, {resultTypes: ["violations"]}).then(r => window.found = r.violations.map(v => v.id + ": " + v.nodes[0].html));
		true`)
	b.Until(`window.found !== undefined`)
	if found := apptest.Evaluate[[]string](b, `window.found`); len(found) > 0 {
		b.T.Errorf("%s: %s", where, strings.Join(found, "\n"))
	}
	if apptest.Evaluate[bool](b, `document.documentElement.scrollWidth > document.documentElement.clientWidth`) {
		b.T.Errorf("%s is too wide", where)
	}
}
