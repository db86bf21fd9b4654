package authn

import (
	"errors"
	"net/url"
	"strings"
)

// What an Auth0 tenant does differently stands in its row of presets and here.

const auth0 = "Auth0"

// IsAuth0 reports whether an issuer is that of an Auth0 tenant under its own domain. A
// custom domain does not tell.
func IsAuth0(issuer string) bool { return presetOf(issuer).name == auth0 }

// auth0Misspelt asks for the slash: iss of every token has it.
func auth0Misspelt(u *url.URL) string {
	if u.Path != "/" {
		return "an Auth0 issuer ends in a slash; write https://" + u.Host + "/"
	}
	return ""
}

// checkOrganization checks that a person signed in through the organization that was
// asked for, by its id or by its name ("Work with Tokens and Organizations", Validate
// tokens). Without the check, a link that names one customer's organization would sign in
// the people of another; the provider has to confirm it, whichever provider it is. Names
// are lower case with Auth0, whatever was asked for ("Use Organization Names in
// Authentication API"); ids are compared to the letter.
func checkOrganization(c strictClaims, asked string) error {
	if asked == "" {
		return nil
	}
	claim := "org_name"
	if strings.HasPrefix(asked, "org_") {
		claim = "org_id"
	}
	got, err := c.string(claim)
	if err != nil {
		return err
	}
	if got != asked && (claim == "org_id" || !strings.EqualFold(got, asked)) {
		return errors.New(claim + " is missing or not that of the organization that was asked for")
	}
	return nil
}
