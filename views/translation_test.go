package views_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"

	"latchkey/views"
	"latchkey/views/messages"
)

// oneLanguage lists the views that have their texts in themselves and not in the catalogue.
var oneLanguage = []string{
	"admin.templ", "claims.templ", "confirmsignout.templ", "dashboard.templ", "failure.templ", "forbidden.templ",
	"gallery.templ", "home.templ", "layout.templ", "movingon.templ", "profile.templ", "resume.templ", "session.templ",
	"sessions.templ", "sessionwarning.templ", "signedout.templ", "token.templ",
}

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
var textAttributes = []string{"aria-label", "title", "alt", "placeholder", "data-announce", "data-done", "data-failed"}

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
		`return templ.Error{Err: err, FileName: "Views"}`:                                                    "",
	} {
		got := hardCoded(t, "x.go", []byte("package x\nfunc _() error {\n"+source+"\nreturn nil\n}"))
		if strings.Join(got, "|") != want {
			t.Errorf("%s: found %q, want %q", source, got, want)
		}
	}
}

// TestTimesInGerman renders a component with a context in German.
func TestTimesInGerman(t *testing.T) {
	t.Parallel()
	ctx := messages.NewContext(t.Context(), messages.NewMatcher().Match([]string{"de"}))
	for want, value := range map[string]views.ClaimValue{
		"01.03.2026, 11:00 UTC": {Kind: views.ClaimTime, Time: noon},
		"unbekannt":             {Kind: views.ClaimTime},
	} {
		var card strings.Builder
		if err := views.ClaimsCard(views.ClaimsProps{Groups: []views.ClaimGroup{{Claims: []views.Claim{{Name: "claim", Value: value}}}}}, false).Render(ctx, &card); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(card.String(), ">"+want+"<") {
			t.Errorf("the claim is not %q:\n%s", want, card.String())
		}
	}
}
