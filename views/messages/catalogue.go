// Package messages has the texts of the pages, in every language that the app speaks. A language is
// one file, named for its tag: de.json is German. To add a language, copy en.json to the name of
// its tag and translate the values.
//
// A text with a value in it has a verb of package fmt: "Go to %s instead." Where another language
// needs the values in another order, it numbers them: "%[2]s … %[1]s".
package messages

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

// Catalogue has the texts in one language.
type Catalogue struct {
	// Language is the tag of the language, such as "en". It is the name of the file.
	Language string `json:"-"`
	// Direction is the direction of the script: "ltr" or "rtl".
	Direction string
	// DateTime is how pages write a time, as a layout of [time.Time.Format]. Package time knows only
	// the English months, so other languages write the month as a number.
	DateTime string
	// UnknownTime is in the place of a time that is not known.
	UnknownTime string
	// In is how far off something is.
	In Relative
	// Action has the labels of buttons and links.
	Action Action
	// Need says what gives access to a page.
	Need Need
	// Ended says why a session ended, for each word that an address can have.
	Ended map[string]string
	// Failures has the texts of error pages, for each reason in routes/errors.go.
	Failures map[string]Failure

	tag language.Tag
}

// Relative is how far off something is.
type Relative struct {
	Now                           string
	Seconds, Minutes, Hours, Days Count
}

// Action has the labels of buttons and links.
type Action struct {
	GoHome, SignIn, TryAgain string
}

// Need says what gives access to a page. The first five complete the text of the failure
// claim_missing, "This page needs %s."
type Need struct {
	// Role, Group, Permission and Entitlement are for an entry of the usual lists.
	Role, Group, Permission, Entitlement string
	// Item is for an entry of another list: the entry, and the claim. Value is for a claim and what
	// it has to be.
	Item, Value string
	// Or joins two of them, and Nothing is for a rule that nobody meets.
	Or, Nothing string
	// Equal, Includes and Address are what a claim has to be: a text, a list with an entry, and an
	// e-mail address at a domain.
	Equal, Includes, Address string
}

// Failure is what happened, and what the person can do.
type Failure struct{ Heading, Text string }

// Count is a text about a number, in the forms that the language has for numbers (CLDR plural
// rules). Other is the form that every language has; each form has the verb %d.
type Count struct{ Zero, One, Two, Few, Many, Other string }

//go:embed *.json
var files embed.FS

// all returns the catalogues, English first, because a reader of no language that there is gets the
// first one. It panics if a file is malformed, which a test finds.
var all = sync.OnceValue(func() []*Catalogue {
	names, _ := fs.Glob(files, "*.json") // the pattern is valid
	var list []*Catalogue
	for _, name := range append([]string{"en.json"}, slices.DeleteFunc(names, func(name string) bool { return name == "en.json" })...) {
		c, err := read(name)
		if err != nil {
			panic(fmt.Sprintf("messages: %s: %v", name, err))
		}
		list = append(list, c)
	}
	return list
})

// read reads the catalogue in a file. It reads the English one first, so that a text which the
// language lacks is English.
func read(name string) (*Catalogue, error) {
	c := new(Catalogue)
	for _, name := range []string{"en.json", name} {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.DisallowUnknownFields()
		if err := d.Decode(c); err != nil {
			return nil, err
		}
	}
	c.Language = strings.TrimSuffix(name, path.Ext(name))
	var err error
	c.tag, err = language.Parse(c.Language)
	return c, err
}

// English returns the English catalogue.
func English() *Catalogue { return all()[0] }

// Key is the key of a context for the catalogue of its request.
type Key struct{}

// NewContext returns a context with a catalogue.
func NewContext(ctx context.Context, c *Catalogue) context.Context {
	return context.WithValue(ctx, Key{}, c)
}

// FromContext returns the catalogue of a context, or the English one if it has none.
func FromContext(ctx context.Context) *Catalogue {
	if c, ok := ctx.Value(Key{}).(*Catalogue); ok && c != nil {
		return c
	}
	return English()
}

// Count returns a text about n things.
func (c *Catalogue) Count(text Count, n int) string {
	form := [...]string{
		plural.Zero: text.Zero, plural.One: text.One, plural.Two: text.Two, plural.Few: text.Few, plural.Many: text.Many,
	}[plural.Cardinal.MatchPlural(c.tag, n, 0, 0, 0, 0)]
	if form == "" {
		form = text.Other
	}
	return fmt.Sprintf(form, n)
}

// Time returns a time in UTC.
func (c *Catalogue) Time(t time.Time) string { return t.UTC().Format(c.DateTime) }

// Until returns how far off something is, in the largest unit that is not too coarse. app.js has the
// same rule.
func (c *Catalogue) Until(d time.Duration) string {
	switch {
	case d <= 0:
		return c.In.Now
	case 2*d > 3*24*time.Hour:
		return c.Count(c.In.Days, int((d+12*time.Hour)/(24*time.Hour)))
	case 2*d > 3*time.Hour:
		return c.Count(c.In.Hours, int((d+time.Hour/2)/time.Hour))
	case 2*d > 3*time.Minute:
		return c.Count(c.In.Minutes, int((d+time.Minute/2)/time.Minute))
	default:
		return c.Count(c.In.Seconds, max(1, int(d/time.Second)))
	}
}
