package views_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/a-h/templ"
	"golang.org/x/net/html"

	"latchkey/views"
	"latchkey/views/messages"
)

// oneLanguage lists the views that have their texts in themselves and not in the catalogue.
var oneLanguage = []string{"gallery.templ"}

// TestTextsAreInTheCatalogue looks for texts in the generated code of each view that takes texts from
// the catalogue: a view is in every language, or in one. A product's view may be in one.
func TestTextsAreInTheCatalogue(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*_templ.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, "_templ.go") + ".templ"
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := hardCoded(t, file, source)
		t.Logf("%s has %d texts: %q", name, len(found), found)
		switch listed := slices.Contains(oneLanguage, name); {
		case listed && len(found) == 0:
			t.Errorf("%s has no text left: take it from the list", name)
		case strings.Contains(string(source), "messages.In("): // a product's view, with its own texts in it
		case !listed && len(found) > 0 && strings.Contains(string(source), "views/messages"):
			t.Errorf("%s has the texts %q: move them to views/messages", name, found)
		}
	}
}

// hardCoded returns the texts in the generated code of a view: those between its tags, in attributes
// that people see or hear, and sentences in its Go code.
func hardCoded(t *testing.T, file string, source []byte) (found []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder // the markup, with a NUL in the place of each expression
	markup := map[*ast.BasicLit]bool{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.CompositeLit: // templ.Error, with the name of the file
			if s, ok := n.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Error" {
				return false
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "navigationLink" || f.Name == "menuLink") {
				return false // a product adds its links to ours; TestEveryTextIsTranslated checks ours
			}
			if s, ok := n.Fun.(*ast.SelectorExpr); !ok || s.Sel.Name != "WriteString" {
				break
			}
			if literal, ok := n.Args[len(n.Args)-1].(*ast.BasicLit); ok {
				markup[literal] = true
				page.WriteString(unquoted(literal))
			} else {
				page.WriteByte(0)
			}
		case *ast.BasicLit:
			if text := unquoted(n); n.Kind == token.STRING && !markup[n] && sentence.MatchString(text) {
				found = append(found, text)
			}
		}
		return true
	})
	return append(found, textsOf(page.String())...)
}

// sentence matches a string in Go code that is for people: a word with a capital, which no class, id
// or address here has.
var sentence = regexp.MustCompile(`^\p{Lu}\p{Ll}+( |$)`)

func unquoted(literal *ast.BasicLit) string {
	text, _ := strconv.Unquote(literal.Value) // not of a number
	return text
}

// textAttributes are the attributes that people see or hear, and those that scripts show.
var textAttributes = []string{"aria-label", "title", "alt", "placeholder", "data-announce", "data-done", "data-failed", "data-found", "data-now"}

func textsOf(page string) (found []string) {
	add := func(text string) {
		if strings.ContainsFunc(text, unicode.IsLetter) {
			found = append(found, strings.Join(strings.Fields(strings.ReplaceAll(text, "\x00", "…")), " "))
		}
	}
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return found
		case html.TextToken:
			text := z.Token().Data
			if strings.HasPrefix(text, "<") { // the tokenizer leaves the content of <noscript> as it is
				found = append(found, textsOf(text)...)
				continue
			}
			add(text)
		case html.StartTagToken, html.SelfClosingTagToken:
			for _, attribute := range z.Token().Attr {
				if slices.Contains(textAttributes, attribute.Key) {
					add(attribute.Val)
				}
			}
		}
	}
}

// TestHardCodedTextsAreFound checks the search itself.
func TestHardCodedTextsAreFound(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		`templruntime.WriteString(b, 1, "<p class=\"button small\" hx-get=\"/Home\">")`:                      "",
		`templruntime.WriteString(b, 1, "<p>Sign out</p>")`:                                                  "Sign out",
		`templruntime.WriteString(b, 1, "<p>Error "); b.WriteString(templ.EscapeString(code)); w(b, "</p>")`: "Error …",
		`templruntime.WriteString(b, 1, "<nav aria-label=\"Main\">")`:                                        "Main",
		`link("/dashboard", "Dashboard", path)`:                                                              "Dashboard",
		`b.WriteString(templ.EscapeString("Signed in "))`:                                                    "Signed in ",
		`navigationLink("/notes", "Notes", path)`:                                                            "",
		`return templ.Error{Err: err, FileName: "Views"}`:                                                    "",
	} {
		got := hardCoded(t, "x.go", []byte("package x\nfunc _() error {\n"+source+"\nreturn nil\n}"))
		if strings.Join(got, "|") != want {
			t.Errorf("%s: found %q, want %q", source, got, want)
		}
	}
}

// inGerman renders a component with a context in German.
func inGerman(t *testing.T, c templ.Component) string {
	t.Helper()
	var b strings.Builder
	if err := c.Render(messages.NewContext(t.Context(), messages.NewMatcher().Match([]string{"de"})), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestClaimsInGerman renders every kind of value.
func TestClaimsInGerman(t *testing.T) {
	t.Parallel()
	for want, value := range map[string]views.ClaimValue{
		">Ada<":                          {Text: "Ada"},
		">leer<":                         {},
		">Ja<":                           {Kind: views.ClaimBool, Bool: true},
		">Nein<":                         {Kind: views.ClaimBool},
		">01.03.2026, 11:00 UTC<":        {Kind: views.ClaimTime, Time: noon},
		">unbekannt<":                    {Kind: views.ClaimTime},
		">keine<":                        {Kind: views.ClaimList},
		"<summary>1 weiterer Eintrag<":   {Kind: views.ClaimList, List: make([]string, 13)},
		"<summary>48 weitere Einträge<":  {Kind: views.ClaimList, List: make([]string, 60)},
		`>https://example.com/ada</bdi>`: {Kind: views.ClaimURL, Text: "https://example.com/ada"},
		"<code>null</code>":              {Kind: views.ClaimJSON, Text: "null"},
	} {
		card := inGerman(t, views.ClaimsCard(claims(views.Claim{Name: "claim", Value: value}), false))
		_, got, _ := strings.Cut(card, "<dd>")
		got, _, _ = strings.Cut(got, "</dl>")
		if got = strings.ReplaceAll(">"+strings.Replace(got, "</dd>", "<", 1), "> ", ">"); !strings.Contains(got, want) {
			t.Errorf("the value is not %q:\n%s", want, got)
		}
	}
}

// TestRefreshInGerman renders what htmx gets after a refresh.
func TestRefreshInGerman(t *testing.T) {
	t.Parallel()
	list := []views.Claim{
		{Name: "a", Change: views.ClaimNew}, {Name: "b", Change: views.ClaimChanged, Before: "Ada"}, {Name: "c", Change: views.ClaimRemoved, Before: "Eva"},
	}
	changes := []views.Change{{Claim: "b", Before: "Ada", After: "Ida"}, {Claim: "a", After: "Udo"}}
	answer := inGerman(t, views.RefreshedProfile(views.ProfileProps{JustRefreshed: true, Changes: 3, Fetched: noon}, claims(list...), views.ReceivedProps{UserInfo: "{}", Changes: changes}))
	for _, want := range []string{
		` data-announce="Profil aktualisiert. 3 Änderungen."`, ">Die letzte Aktualisierung hat 3 Angaben geändert.<", "Zuletzt aktualisiert: <time",
		`<strong class="claim-new">Neu</strong> seit der letzten Aktualisierung<`,
		`<strong class="claim-changed">Geändert</strong> bei der letzten Aktualisierung, vorher <del><bdi>Ada</bdi></del>`,
		`<dd><span class="muted">nicht vorhanden</span></dd><dd class="claim-change"><strong class="claim-removed">Entfernt</strong> bei der letzten Aktualisierung: <del><bdi>Eva</bdi></del>`,
		"Bei der letzten Aktualisierung geändert", "> war <", ">, ist jetzt <", ">nicht gesetzt<", "Keine E-Mail-Adresse", ">Aktualisieren<",
		`data-done="Kopiert" data-failed="Kopieren fehlgeschlagen" hidden>Kopieren<`, ">Das konnten wir nicht bestätigen<", ">Neu laden<", ">Schließen<",
	} {
		if !strings.Contains(strings.Join(strings.Fields(strings.ReplaceAll(answer, "</svg> Aktualisieren ", "></svg>Aktualisieren")), " "), want) {
			t.Errorf("it lacks %q:\n%s", want, answer)
		}
	}
	for n, want := range map[int]string{0: "Profil aktualisiert. Es hat sich nichts geändert.", 1: "Profil aktualisiert. 1 Änderung."} {
		if card := inGerman(t, views.ProfileCard(views.ProfileProps{JustRefreshed: true, Changes: n})); !strings.Contains(card, ` data-announce="`+want+`"`) || strings.Contains(card, "<p>Aktuell: Es hat sich nichts geändert.</p>") != (n == 0) {
			t.Errorf("%d changes: it does not announce %q:\n%s", n, want, card)
		}
	}
}

// TestEveryTextIsTranslated renders every page with a catalogue that has no letters, and looks for
// letters. It also sees the texts that Go code hands to the views.
func TestEveryTextIsTranslated(t *testing.T) {
	t.Parallel()
	for name, page := range pagesIn(messages.NewContext(t.Context(), withoutLetters(t)), t, "7") {
		page = header.ReplaceAllStringFunc(page, func(header string) string {
			return link.ReplaceAllStringFunc(header, func(found string) string {
				if slices.Contains([]string{"/dashboard", "/sessions", "/admin", "/profile"}, link.FindStringSubmatch(found)[1]) {
					return found
				}
				return "" // a product has added it
			})
		})
		page = strings.ReplaceAll(page, views.Product, "")
		if found := textsOf(page); len(found) > 0 {
			t.Errorf("%s has the texts %q: move them to views/messages", name, found)
		}
	}
}

var (
	header = regexp.MustCompile(`(?s)<header.*</header>`)
	link   = regexp.MustCompile(`(?s)<a [^>]*href="(/[^"]+)".*?</a>`)
)

// withoutLetters returns the English catalogue without its letters. The values that a text has stay.
func withoutLetters(t *testing.T) *messages.Catalogue {
	t.Helper()
	c := *messages.English()
	letters := regexp.MustCompile(`%[sd]|\pL+`)
	strip := func(text string) string {
		return letters.ReplaceAllStringFunc(text, func(found string) string {
			if found[0] == '%' {
				return found
			}
			return "-"
		})
	}
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			v.SetString(strip(v.String()))
		case reflect.Map:
			stripped := reflect.MakeMap(v.Type())
			for _, key := range v.MapKeys() {
				value := reflect.New(v.Type().Elem()).Elem()
				value.Set(v.MapIndex(key))
				walk(value)
				stripped.SetMapIndex(key, value)
			}
			v.Set(stripped)
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					walk(v.Field(i))
				}
			}
		}
	}
	language, direction := c.Language, c.Direction
	walk(reflect.ValueOf(&c).Elem())
	c.Language, c.Direction = language, direction
	return &c
}

// TestValuesAreInTheTexts renders every page in every language. A text that is cut around its values
// must not number them, because the page would show the number.
func TestValuesAreInTheTexts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("messages/*.json")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		language := strings.TrimSuffix(filepath.Base(file), ".json")
		ctx := messages.NewContext(t.Context(), messages.NewMatcher().Match([]string{language}))
		for name, page := range pagesIn(ctx, t, "7") {
			if _, after, found := strings.Cut(page, "%"); found {
				t.Errorf("%s: %s shows the verb %.20q", language, name, "%"+after)
			}
		}
	}
}
