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
	// Ago is how long ago something was.
	Ago Ago
	// Action has the labels of buttons and links.
	Action Action
	// Title has the names of the pages, in the navigation and in the browser's tab.
	Title Title
	// Layout has the texts around each page.
	Layout Layout
	// Home has the texts of the home page.
	Home Home
	// SignedOut has the texts of the pages after a sign-out.
	SignedOut SignedOut
	// SignOut has the texts of the question whether to sign out, and of the page after it.
	SignOut SignOut
	// Footnote has what an error page says at the bottom.
	Footnote Footnote
	// LostReply is what a page says if it does not know whether the server has done something.
	LostReply LostReply
	// Forbidden has the texts of the page for a person who lacks access.
	Forbidden Forbidden
	// Resume has the texts of the question whether to send a form that was kept.
	Resume Resume
	// Devices has the texts of the list of a person's sessions.
	Devices Devices
	// Warning has the texts of the warning before the session ends.
	Warning Warning
	// Admin has the texts of the page for administrators.
	Admin Admin
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

// Ago is how long ago something was.
type Ago struct{ Minutes, Hours, Days Count }

// Action has the labels of buttons and links.
type Action struct {
	GoHome, SignIn, TryAgain                             string
	Home, SignInAgain, SignOut, Continue, Cancel, Reload string
}

// Title has the names of the pages.
type Title struct {
	Welcome, SignedOut, Dashboard, Profile, Devices, Admin, SignOut string
}

// Layout has the texts around each page.
type Layout struct {
	Skip string
	// Development, DevelopmentProvider and OpenProvider are the banner above all pages while the
	// development provider is in use: its name, what it says, and its link.
	Development, DevelopmentProvider, OpenProvider string
	// Navigation and AccountMenu are names for screen readers.
	Navigation, AccountMenu string
}

// Home has the texts of the home page. Lead has the product's name.
type Home struct {
	Heading, Lead           string
	DownHeading, Down       string
	Password, Openness, End Fact
}

// Fact is one of the promises on the home page.
type Fact struct{ Heading, Text string }

// SignedOut has the texts of the pages after a sign-out.
type SignedOut struct {
	Heading string
	// Here and Everywhere say where the session has ended, and Continue what to do if it was not the
	// person who ended it.
	Here, Everywhere, Continue string
}

// SignOut has the texts of the question whether to sign out. Moving and MovingText are the page that
// takes the person on to the provider.
type SignOut struct {
	Heading, Text      string
	Moving, MovingText string
}

// Footnote has what an error page says at the bottom: the status, and the label of the reference.
type Footnote struct{ Error, Reference string }

// LostReply has the heading of what a page says if the reply to a form is lost.
type LostReply struct{ Heading string }

// Forbidden has the texts of the page for a person who lacks access.
type Forbidden struct {
	SwitchAccount           string
	SignedInAs, NotVerified string
	// Required and OrRequired are labels of what gives access.
	Required, OrRequired string
	Held, NotHeld        string
}

// Resume has the texts of the question whether to send a form that was kept. Question has what the
// form does. Unnamed and UnnamedText are for a form that the app has no name for.
type Resume struct {
	Question, Text       string
	Unnamed, UnnamedText string
	// EndDevice is what a form that signs out a device does, and EndGone the same for a device that is
	// signed out by now.
	EndDevice, EndGone string
}

// Devices has the texts of the list of a person's sessions. Lead has the product's name.
type Devices struct {
	Heading, Lead, Note string
	// Name has the browser and the system. The others are for a device of which one is not known, and
	// for the system that has no name of its own.
	Name, UnknownBrowser, Unknown, AndroidTablet string
	This                                         string
	// ActiveAgo has how long ago that was, and SignedIn the time.
	ActiveNow, ActiveAgo, SignedIn string
	// EndOthers is the button that signs out all other devices, EndOthersHeading and EndOthersText are
	// the question, and EndOthersYes is its answer.
	EndOthers, EndOthersHeading, EndOthersText, EndOthersYes string
	// The next ones say what has happened.
	Ended, EndedBefore, NoOthers string
	OthersEnded                  Count
	// Lost is for a reply that was lost, and Current for the list that is loaded after that.
	Lost, Current string
}

// Warning has the texts of the warning before the session ends. Heading has the time that is left.
type Warning struct {
	Heading string
	// Inactive, Stay, Stayed and Failed are for a session that can be extended: the reason, the button,
	// and what is said after it.
	Inactive, Stay, Stayed, Failed string
	// Last and NewTab are for a session that cannot be extended. NewTab completes the button Sign in
	// again, for screen readers.
	Last, NewTab string
}

// Admin has the texts of the page for administrators.
type Admin struct {
	Status                     string
	Address, Issuer            string
	SignInService, Store       string
	Operational, NotResponding string
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

// Until returns how far off something is, such as "in 90 minutes", in the largest unit that is not too
// coarse. app.js has the same rule.
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

// Since returns how long ago something was, such as "1 hour ago", in whole units.
func (c *Catalogue) Since(d time.Duration) string {
	switch {
	case d < time.Hour:
		return c.Count(c.Ago.Minutes, max(1, int(d/time.Minute)))
	case d < 24*time.Hour:
		return c.Count(c.Ago.Hours, int(d/time.Hour))
	default:
		return c.Count(c.Ago.Days, int(d/(24*time.Hour)))
	}
}

// In returns those of a product's own texts that are in the language of a context, or else in
// English. The keys are the tags of the languages; a value is a text, or a struct of texts.
func In[T any](ctx context.Context, texts map[string]T) T {
	if own, ok := texts[FromContext(ctx).Language]; ok {
		return own
	}
	return texts[English().Language]
}
