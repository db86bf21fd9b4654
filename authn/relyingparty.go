package authn

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// RelyingParty is this application as the provider knows it (OpenID Connect Core
// 1.0 section 1.2).
type RelyingParty struct {
	cfg         Config
	client      *http.Client
	tokenClient *http.Client
	provider    *provider
	preset      preset // what is known of the provider beside its metadata
	keySet      *keySet
	keys        *keySetVerifier       // for what the provider itself hands out
	accessKeys  *keySetVerifier       // for access tokens, which anybody can send
	verifier    *oidc.IDTokenVerifier // of ID tokens, which come from the provider
	logout      *oidc.IDTokenVerifier // of logout tokens, which anybody can send
	signer      jose.Signer           // of client assertions; nil with a client secret
	cookies     cookies
	binding     Key
}

// NewRelyingParty returns a relying party that has not talked to its provider yet.
func NewRelyingParty(cfg Config) (*RelyingParty, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.measured()
	rp := &RelyingParty{
		cfg:     cfg,
		client:  newClient(cfg),
		preset:  cfg.preset(),
		cookies: cookies{secure: cfg.Secure},
		binding: NewKey("transaction binding", cfg.Issuer, cfg.ClientID, cfg.RedirectURL),
	}
	rp.tokenClient = &http.Client{
		Timeout: callTimeout, Transport: tokenTransport{rp}, CheckRedirect: rp.client.CheckRedirect,
	}
	rp.provider = newProvider(cfg, rp.client)
	rp.keySet = &keySet{provider: rp.provider, client: rp.client, now: cfg.Now, log: cfg.Log}
	rp.keys, rp.accessKeys = rp.newKeys(refetchBurst), rp.newKeys(accessBurst)
	rp.verifier, rp.logout = rp.newVerifier(rp.keys), rp.newVerifier(rp.newKeys(logoutBurst))
	if cfg.ClientAuth == PrivateKeyJWT {
		signer, err := cfg.newSigner()
		if err != nil {
			return nil, err
		}
		rp.signer = signer
	}
	return rp, nil
}

// newKeys returns the key set with an allowance of its own.
func (rp *RelyingParty) newKeys(burst int) *keySetVerifier {
	return &keySetVerifier{set: rp.keySet, allowance: bucket{burst: burst}}
}

// newVerifier returns go-oidc's verifier over the key set.
func (rp *RelyingParty) newVerifier(keys *keySetVerifier) *oidc.IDTokenVerifier {
	return oidc.NewVerifier(rp.cfg.Issuer, keys, &oidc.Config{
		ClientID:             rp.cfg.ClientID,
		SupportedSigningAlgs: rp.cfg.IDTokenAlgorithms,
		// go-oidc knows no leeway; expiry is the only thing that it asks the clock
		// for without one of its own.
		Now: func() time.Time { return rp.cfg.Now().Add(-leeway) },
	})
}

// Run discovers the provider in the background, and keeps its metadata and its keys
// fresh, until ctx ends. Nothing waits for it: a sign-in that comes first asks for
// itself.
func (rp *RelyingParty) Run(ctx context.Context) {
	go rp.keySet.run(ctx)
	rp.provider.run(ctx)
}

// Ready reports whether the provider has been discovered, and if not, why.
func (rp *RelyingParty) Ready() error {
	_, err := rp.provider.ready()
	return err
}

// DiscoveryAge is how long ago the provider's metadata was fetched that is in use; false
// where there is none.
func (rp *RelyingParty) DiscoveryAge() (time.Duration, bool) {
	rp.provider.mu.Lock()
	defer rp.provider.mu.Unlock()
	return rp.cfg.Now().Sub(rp.provider.fetched), rp.provider.metadata != nil
}

// KeySetAge is how long ago the provider's key set was fetched that is in use; false where
// there is none.
func (rp *RelyingParty) KeySetAge() (time.Duration, bool) {
	rp.keySet.mu.Lock()
	defer rp.keySet.mu.Unlock()
	return rp.cfg.Now().Sub(rp.keySet.fetched), len(rp.keySet.keys) > 0
}

// Issuer is the provider's issuer identifier.
func (rp *RelyingParty) Issuer() string { return rp.cfg.Issuer }

// IsIssuer reports whether an issuer identifier is that of the provider.
func (rp *RelyingParty) IsIssuer(issuer string) bool { return issuer == rp.cfg.Issuer }

// Origins returns the origins that a browser is sent to at sign-in and sign-out.
// A page whose form ends in such a redirect must allow them as form-action.
func (rp *RelyingParty) Origins() []string {
	addresses := []string{rp.cfg.Issuer}
	if m, err := rp.provider.ready(); err == nil {
		addresses = append(addresses, m.AuthorizationEndpoint, m.EndSessionEndpoint)
	}
	var origins []string
	for _, address := range addresses {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			origins = append(origins, u.Scheme+"://"+u.Host)
		}
	}
	slices.Sort(origins)
	return slices.Compact(origins)
}
