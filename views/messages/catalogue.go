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
	// ChooseProvider has the texts of the page on which people choose where to sign in.
	ChooseProvider ChooseProvider
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
	// Failures has the texts of error pages, for each reason in routes/failures.go.
	Failures map[string]Failure
	// Dashboard, Claims, Profile, Session and Token have the texts of the dashboard and its cards, and
	// of the profile page.
	Dashboard Dashboard
	Claims    Claims
	Profile   Profile
	Session   Session
	Token     Token
	// Copy is about the buttons that copy.
	Copy Copy
	// Answer is the value of a claim or a setting that is true or false.
	Answer Answer
	// Form has the texts of every form.
	Form Form

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
	Welcome, SignIn, SignedOut, Dashboard, Profile, Devices, Admin, SignOut string
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

// Home has the texts of the home page. Lead has the product's name. Description is for search engines, on
// every page.
type Home struct {
	Description             string
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

// ChooseProvider has the texts of the page on which people choose where to sign in. Last is beside the
// provider that they have used last, and Down beside one that cannot be reached.
type ChooseProvider struct {
	Heading, Text string
	Last, Down    string
}

// SignOut has the texts of the question whether to sign out. Moving and MovingText are the page that
// takes the person on to the provider.
type SignOut struct {
	Heading, Text      string
	Moving, MovingText string
}

// Footnote has what an error page says at the bottom: the status, and the label of the reference.
type Footnote struct{ Error, Reference string }

// LostReply has the heading of what a page says if the reply to a form is lost, and the text for a card that
// has none of its own.
type LostReply struct{ Heading, Text string }

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
	// Name has the browser and the system as values. UnknownBrowser and Unknown are for a device whose
	// browser, or whose browser and system, are not known. AndroidTablet is what pages call that system.
	Name, UnknownBrowser, Unknown, AndroidTablet string
	// This and Bound are the badges of the session that shows the list, and of one that is bound to a
	// key of its device.
	This, Bound string
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

// Form has the texts of every form.
type Form struct {
	// Problem is the heading of the list of errors. Optional is the label of a field that may stay empty.
	Problem, Optional string
}

// Count is a text about a number, in the forms that the language has for numbers (CLDR plural
// rules). Other is the form that every language has; each form has the verb %d.
type Count struct{ Zero, One, Two, Few, Many, Other string }

//go:embed *.json
var files embed.FS

// all returns the catalogues, English first, because a reader whose languages have no catalogue gets the
// first one. It panics if a file is malformed; a test makes sure that none is.
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
	for _, name := range slices.Compact([]string{"en.json", name}) {
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

// Around returns what a text says before, between and after its values. A view uses it for a text with
// markup around a value, such as "Welcome, <bdi>Ada</bdi>". The values are in the same order in every
// language.
func Around(text string) (parts [4]string) {
	for i := range parts {
		parts[i], text, _ = strings.Cut(text, "%s")
	}
	return parts
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

// Dashboard has the texts of the dashboard around its cards. Welcome has the name of the person.
type Dashboard struct{ Welcome string }

// Claims has the texts of the claims card.
type Claims struct {
	Heading, Lead string
	// Filter is the label of the field that filters, and Found says how many of the claims it leaves:
	// app.js puts the numbers in the place of {shown} and {total}.
	Filter, Found string
	// Profile, Custom and Protocol are the headings of the groups. The last one is folded.
	Profile, Custom, Protocol string
	// Source says where the claims of a group come from.
	Source ClaimSource
	// Raw is the heading of the claims as JSON, and Region the name of the region with the JSON.
	Raw, Region string
	// Labels are the names of the claims in plain words, for each claim in routes/claims.go.
	Labels map[string]string
	// Absent is in the place of a value that was removed, EmptyText of an empty text, and EmptyList of a
	// list without items. More folds away the rest of a long list.
	Absent, EmptyText, EmptyList string
	More                         Count
	// New, Changed and Removed say what the last refresh did to a claim. Their values are the word, which
	// is emphasised, and the value that the claim had until then.
	New, Changed, Removed             string
	NewWord, ChangedWord, RemovedWord string
}

// ClaimSource says where the claims of a group come from.
type ClaimSource struct{ Token, Userinfo, Both string }

// Profile has the texts of the profile card and page.
type Profile struct {
	// Title is the heading of the page, and Heading that of the card.
	Title, Heading string
	// Refresh is the button. Refreshed has the time of the last refresh.
	Refresh, Refreshed string
	// Changes and UpToDate say what the last refresh did. AnnouncedChanges and AnnouncedNone are for screen
	// readers, when the card has been replaced.
	Changes          Count
	UpToDate         string
	AnnouncedChanges Count
	AnnouncedNone    string
	// Lost is what to do when the reply to a refresh is lost, and Dismiss closes that, or a failure.
	Lost, Dismiss                           string
	NoEmail, EmailVerified, EmailUnverified string
	// Received is the heading above what the provider has sent.
	Received        string
	Token, Userinfo Document
	// Changed is the heading above the changes. Change is one of them for screen readers: the claim, its
	// value before, and its value now. Unset is in the place of a value that there is not.
	Changed, Change, Unset string
}

// Document has the texts around what the provider has sent as JSON: a heading, where it comes from, and
// the name of the region with the JSON.
type Document struct{ Heading, Text, Region string }

// Session has the texts of the session card.
type Session struct{ Heading, SignedIn, IdleTimeout, Expires, Service string }

// Token has the texts about the access token.
type Token struct {
	Heading, Text string
	// Audience is the label, and OwnAudience its value if the token is for the sign-in service itself.
	Audience, OwnAudience string
	// Scopes is the label, and AsRequested its value if they are not known.
	Scopes, AsRequested string
	// Expires is the label, and NotStated its value if it is not known.
	Expires, NotStated string
	// Renews is the label of a yes or no.
	Renews string
}

// Copy has the texts of a button that copies: its label, what it says once it has copied or failed, and
// the label of one that copies a claim, where app.js puts the label of the claim in the place of {claim}.
type Copy struct{ Label, Done, Failed, Claim string }

// Answer is a value that is true or false.
type Answer struct{ Yes, No string }
