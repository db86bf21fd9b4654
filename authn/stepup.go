package authn

import (
	"slices"
	"strings"
	"time"
)

// Demand is what a page asks of the sign-in behind a session: that it is recent, or
// that it was made in a certain way. The zero Demand asks for nothing.
type Demand struct {
	// MaxAge is how long ago the person may have proved who they are: max_age of OpenID
	// Connect Core 1.0 section 3.1.2.1, in whole seconds. 0 asks for nothing.
	MaxAge time.Duration
	// ACR are the authentication context classes of which one is needed: acr_values of
	// the same section, most wanted first.
	ACR []string
}

// Met reports whether a sign-in meets the demand. One of which the provider does not say
// when it was is not recent.
func (d Demand) Met(i Identity, now time.Time) bool {
	return d.recent(i.AuthTime, now) && d.strong(i.ACR())
}

// recent allows for the clocks' difference as the ID token's other times do.
func (d Demand) recent(authTime, now time.Time) bool {
	if d.MaxAge == 0 {
		return true
	}
	return !authTime.IsZero() && now.Sub(authTime) <= d.MaxAge+leeway && authTime.Sub(now) <= leeway
}

func (d Demand) strong(acr string) bool {
	return len(d.ACR) == 0 || slices.Contains(d.ACR, acr)
}

// checkDemand checks that the provider did what was asked of it: max_age and acr_values
// are requests that a browser carries, where anybody can take them out, and that a
// provider may overlook (OpenID Connect Core 1.0 section 3.1.3.7, 12 and 13).
func (rp *RelyingParty) checkDemand(c strictClaims, t *idToken, d Demand) error {
	acr, err := c.string("acr")
	if err != nil && len(d.ACR) > 0 {
		return err
	}
	switch {
	case d.MaxAge > 0 && t.authTime.IsZero():
		return refuse(ReasonStepUpFailed, "max_age was asked for, and the ID token has no auth_time")
	case !d.recent(t.authTime, rp.cfg.Now()):
		return refuse(ReasonStepUpFailed, "auth_time is not within the max_age of %s", d.MaxAge)
	case !d.strong(acr):
		return refuse(ReasonStepUpFailed, "acr is none of the acr_values that were asked for")
	}
	return nil
}

func (d Demand) encode(e *encoder) {
	e.int(int64(d.MaxAge))
	e.string(strings.Join(d.ACR, " ")) // as acr_values is written
}

func decodeDemand(d *decoder) Demand {
	return Demand{MaxAge: time.Duration(d.int()), ACR: strings.Fields(d.string())}
}
