package messages

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

// TestEveryLanguageHasEveryMessage compares each file with the English one: the same names, and in
// each text the same values. A count has each form that its language needs.
func TestEveryLanguageHasEveryMessage(t *testing.T) {
	t.Parallel()
	if len(all()) < 2 {
		t.Fatal("there is one language")
	}
	english := texts(t, "en")
	for _, c := range all() {
		t.Run(c.Language, func(t *testing.T) {
			t.Parallel()
			own := texts(t, c.Language)
			for name, want := range english {
				got := own[name]
				if got == "" {
					t.Errorf("%s is missing", name)
				} else if !slices.Equal(verbs(got), verbs(want)) {
					t.Errorf("%s is %q, but has to have the values of %q", name, got, want)
				}
			}
			for name, text := range own {
				if _, ok := english[name]; !ok && !isForm(name) {
					t.Errorf("%s is not in en.json", name)
				}
				if isForm(name) && !slices.Equal(verbs(text), []string{"d"}) {
					t.Errorf("%s is %q, but has to have the value %%d, and no other", name, text)
				}
			}
			forEachCount(reflect.ValueOf(c).Elem(), "", func(name string, count Count) {
				for n := range 200 {
					if form := formOf(count, plural.Cardinal.MatchPlural(c.tag, n, 0, 0, 0, 0)); form == "" {
						t.Errorf("%s has no form for %d", name, n)
						return
					}
				}
			})
			if !slices.Contains([]string{"ltr", "rtl"}, c.Direction) {
				t.Errorf("direction is %q", c.Direction)
			}
			noon := time.Date(2026, time.May, 31, 12, 34, 0, 0, time.UTC)
			if got := c.Time(noon); !strings.Contains(got, "12:34") || !strings.Contains(got, "2026") || !strings.HasSuffix(got, "UTC") ||
				c.Language != "en" && strings.Contains(got, "May") {
				t.Errorf("dateTime writes %q", got)
			}
		})
	}
}

// texts returns the texts of a file under their paths, such as "failures.not_found.heading".
func texts(t *testing.T, language string) map[string]string {
	t.Helper()
	raw, err := files.ReadFile(language + ".json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	out := map[string]string{}
	var read func(path string)
	read = func(path string) {
		token, err := d.Token()
		if err != nil {
			t.Fatalf("%s.json: %v", language, err)
		}
		if text, ok := token.(string); ok {
			if _, twice := out[path]; twice {
				t.Errorf("%s is in %s.json twice", path, language)
			}
			out[path] = text
			return
		}
		for d.More() {
			name, _ := d.Token()
			read(strings.TrimPrefix(path+".", ".") + name.(string))
		}
		_, _ = d.Token() // the closing brace
	}
	read("")
	return out
}

var verb = regexp.MustCompile(`%(?:\[\d\])?(.)|{(\w+)}`)

// verbs returns the verbs of a text, and the names of the values that a script puts in, without their
// order.
func verbs(text string) (list []string) {
	for _, m := range verb.FindAllStringSubmatch(text, -1) {
		list = append(list, m[1]+m[2])
	}
	slices.Sort(list)
	return list
}

// isForm reports whether a path is that of one form of a count.
func isForm(path string) bool {
	return slices.Contains([]string{"zero", "one", "two", "few", "many", "other"}, path[strings.LastIndex(path, ".")+1:])
}

func formOf(c Count, form plural.Form) string {
	return map[plural.Form]string{
		plural.Zero: c.Zero, plural.One: c.One, plural.Two: c.Two, plural.Few: c.Few, plural.Many: c.Many, plural.Other: c.Other,
	}[form]
}

func forEachCount(v reflect.Value, path string, see func(name string, count Count)) {
	if count, ok := v.Interface().(Count); ok {
		see(path, count)
		return
	}
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		if field := v.Type().Field(i); field.IsExported() {
			forEachCount(v.Field(i), path+"."+field.Name, see)
		}
	}
}

// TestNamesAreFields checks that the names in a file are those of the fields, because package json
// also accepts them in other cases.
func TestNamesAreFields(t *testing.T) {
	t.Parallel()
	var walk func(typ reflect.Type, value any, path string)
	walk = func(typ reflect.Type, value any, path string) {
		object, ok := value.(map[string]any)
		if !ok || typ.Kind() == reflect.Map {
			return
		}
		var fields []string
		for field := range typ.Fields() {
			name := strings.ToLower(field.Name[:1]) + field.Name[1:]
			fields = append(fields, name)
			if v, ok := object[name]; ok {
				walk(field.Type, v, path+name+".")
			}
		}
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if !slices.Contains(fields, name) {
				t.Errorf("%s%s is no field of %s", path, name, typ)
			}
		}
	}
	for _, c := range all() {
		raw, err := files.ReadFile(c.Language + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			t.Fatal(err)
		}
		walk(reflect.TypeFor[Catalogue](), value, c.Language+".json: ")
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	m := NewMatcher()
	for header, want := range map[string]string{
		"":                                      "en",
		"de":                                    "de",
		"de-DE,de;q=0.9,en;q=0.5":               "de",
		"de-AT":                                 "de",
		"gsw-CH":                                "de", // people who read Swiss German read German
		"en-GB,en;q=0.9,de;q=0.8":               "en",
		"de;q=0.5,en;q=0.9":                     "en",
		"fr":                                    "en",
		"fr-FR,fr;q=0.9,de;q=0.5,en;q=0.1":      "de", // the best that there is
		"de;q=0":                                "en",
		"*":                                     "en",
		"x,,;q=;;":                              "en",
		"DE":                                    "de",
		"de," + strings.Repeat("fr;q=0.1,", 40): "en", // longer than any browser sends
	} {
		for range 2 { // the second time from memory
			if got := m.Match([]string{header}).Language; got != want {
				t.Errorf("%q gets %s, want %s", header, got, want)
			}
		}
	}
	if got := m.Match(nil).Language; got != "en" {
		t.Errorf("no header gets %s", got)
	}
	if got := m.Match([]string{"fr", "de"}).Language; got != "de" {
		t.Errorf("two headers get %s", got)
	}
}

// TestMatcherForgets sends more values than a Matcher may remember.
func TestMatcherForgets(t *testing.T) {
	t.Parallel()
	m := NewMatcher()
	for i := range 3 * maxKnown {
		m.Match([]string{"de," + strings.Repeat(" ", i%200) + strings.Repeat("x", i/200)})
	}
	if len(m.known) > maxKnown {
		t.Errorf("it remembers %d values", len(m.known))
	}
}

// TestAround cuts texts with no value, with one and with as many as there may be.
func TestAround(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][4]string{
		"":                       {},
		"Home":                   {"Home"},
		"Welcome, %s":            {"Welcome, "},
		"%s was %s, is now %s":   {"", " was ", ", is now "},
		"Von %s bis %s, für %s.": {"Von ", " bis ", ", für ", "."},
	} {
		if got := Around(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestUntil(t *testing.T) {
	t.Parallel()
	german := NewMatcher().Match([]string{language.German.String()})
	for left, want := range map[time.Duration][2]string{
		-time.Second:     {"now", "jetzt"},
		0:                {"now", "jetzt"},
		time.Millisecond: {"in 1 second", "in 1 Sekunde"},
		90 * time.Second: {"in 90 seconds", "in 90 Sekunden"},
		91 * time.Second: {"in 2 minutes", "in 2 Minuten"},
		90 * time.Minute: {"in 90 minutes", "in 90 Minuten"},
		91 * time.Minute: {"in 2 hours", "in 2 Stunden"},
		36 * time.Hour:   {"in 36 hours", "in 36 Stunden"},
		37 * time.Hour:   {"in 2 days", "in 2 Tagen"},
	} {
		if got := [2]string{English().Until(left), german.Until(left)}; got != want {
			t.Errorf("%s is %q, want %q", left, got, want)
		}
	}
}

func TestSince(t *testing.T) {
	t.Parallel()
	german := NewMatcher().Match([]string{language.German.String()})
	for ago, want := range map[time.Duration][2]string{
		time.Second:       {"1 minute ago", "vor 1 Minute"},
		59 * time.Minute:  {"59 minutes ago", "vor 59 Minuten"},
		119 * time.Minute: {"1 hour ago", "vor 1 Stunde"},
		47 * time.Hour:    {"1 day ago", "vor 1 Tag"},
		48 * time.Hour:    {"2 days ago", "vor 2 Tagen"},
	} {
		if got := [2]string{English().Since(ago), german.Since(ago)}; got != want {
			t.Errorf("%s is %q, want %q", ago, got, want)
		}
	}
}

// TestIn finds a product's own texts in the language of the reader, or else in English.
func TestIn(t *testing.T) {
	t.Parallel()
	german := NewContext(t.Context(), NewMatcher().Match([]string{"de"}))
	for want, own := range map[string]map[string]string{"Notizen": {"en": "Notes", "de": "Notizen"}, "Notes": {"en": "Notes"}, "": nil} {
		if got := In(german, own); got != want {
			t.Errorf("%v has %q, want %q", own, got, want)
		}
	}
	if got := In(t.Context(), map[string]string{"en": "Notes", "de": "Notizen"}); got != "Notes" {
		t.Errorf("without a language, it is %q", got)
	}
}

func BenchmarkMatch(b *testing.B) {
	m := NewMatcher()
	header := []string{"de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"}
	b.ReportAllocs()
	for b.Loop() {
		m.Match(header)
	}
}
