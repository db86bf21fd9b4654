package authn

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// AuthorizationRequest says what a sign-in is for. The zero value is an ordinary one.
type AuthorizationRequest struct {
	// ReturnTo is where the person is going: a path of this application.
	ReturnTo string
	// Link is the query of the link that starts the sign-in. Of it the hints that a
	// link may give are passed on, and nothing else.
	Link url.Values
	// Demand is what the page that the person is going to asks of the sign-in.
	Demand Demand
	// SwitchAccount asks the provider to let the person choose who signs in, though it
	// may know them already.
	SwitchAccount bool
}

// hints are the parameters that a link to the sign-in page may pass on to the
// provider. Everything else in an authorization request is ours to say: a link must
// not be able to ask for another scope or redirect URI.
var hints = []string{"screen_hint", "login_hint", "connection", "organization", "invitation", "ui_locales"}

// maxHintBytes bounds a hint.
const maxHintBytes = 512

// Begin starts a sign-in: it keeps the transaction in a cookie and returns the
// authorization request (OpenID Connect Core 1.0 section 3.1.2.1), to which the browser
// is to be redirected.
//
// The errors are of the reasons ReasonProviderUnreachable and
// ReasonProviderMisconfigured.
func (rp *RelyingParty) Begin(w http.ResponseWriter, r *http.Request, request AuthorizationRequest) (string, error) {
	ctx, cancel := context.WithTimeout(r.Context(), callbackTimeout)
	defer cancel()
	t := rp.newTransaction(request, FromContext(ctx))
	location, err := rp.begin(ctx, w, r, request, t)
	if err != nil {
		rp.cfg.Statistics.SignInsFailed.Add(ReasonOf(err))
		return "", withTransaction(err, t)
	}
	rp.cfg.Statistics.SignInsBegun.Add(1)
	rp.cfg.Log.InfoContext(ctx, "sign-in begun", "sign_in", t.logID(), "issuer", rp.cfg.Issuer)
	return location, nil
}

func (rp *RelyingParty) begin(ctx context.Context, w http.ResponseWriter, r *http.Request, request AuthorizationRequest, t *transaction) (string, error) {
	m, err := rp.provider.wait(ctx)
	if err != nil {
		return "", err
	}
	full, err := url.Parse(rp.oauth2Config(m).AuthCodeURL(t.state, rp.requestParameters(m, t, request)...))
	if err != nil {
		return "", refuse(ReasonProviderMisconfigured, "authorization endpoint: %w", err)
	}
	location := full.String()
	if rp.pushes(m) {
		if location, err = rp.push(ctx, m, full.Query()); err != nil {
			return "", err
		}
	}
	if err := rp.keep(w, r, t); err != nil {
		return "", err
	}
	return location, nil
}

// hint returns a hint of a link, and "" where there is none or it is too long.
func hint(link url.Values, name string) string {
	if value := link.Get(name); len(value) <= maxHintBytes {
		return value
	}
	return ""
}

func (rp *RelyingParty) requestParameters(m *Metadata, t *transaction, request AuthorizationRequest) []oauth2.AuthCodeOption {
	parameters := []oauth2.AuthCodeOption{oidc.Nonce(t.nonce), oauth2.S256ChallengeOption(t.verifier)}
	set := func(name, value string) {
		if value != "" {
			parameters = append(parameters, oauth2.SetAuthURLParam(name, value))
		}
	}
	set("audience", rp.cfg.Audience)
	if rp.cfg.ResponseMode == "form_post" {
		set("response_mode", "form_post")
	}
	if t.demand.MaxAge > 0 {
		set("max_age", strconv.FormatInt(int64(t.demand.MaxAge/time.Second), 10))
	}
	set("acr_values", strings.Join(t.demand.ACR, " "))
	if request.SwitchAccount {
		set("prompt", rp.switchPrompt(m))
	}
	for name := range rp.offlineParameters() {
		set(name, rp.preset.offline.Get(name))
	}
	for _, name := range hints {
		set(name, hint(request.Link, name))
	}
	return parameters
}

// switchPrompt is the prompt with which a provider asks who signs in (OpenID Connect Core
// 1.0 section 3.1.2.1). select_account asks just that, but not every provider has it, and
// some refuse the whole request for it; login is one that every provider must know
// (section 15.1).
func (rp *RelyingParty) switchPrompt(m *Metadata) string {
	if rp.preset.selectsAccount || slices.Contains(m.PromptsSupported, "select_account") {
		return "select_account"
	}
	return "login"
}

// scopes are the configured ones. offline_access is left out where the provider
// does not offer it: some refuse the whole request for it.
func (rp *RelyingParty) scopes(m *Metadata) []string {
	return slices.DeleteFunc(slices.Clone(rp.cfg.Scopes), func(scope string) bool {
		return scope == "offline_access" && !slices.Contains(m.ScopesSupported, scope)
	})
}
