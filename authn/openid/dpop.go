package openid

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// With DPoP (RFC 9449) an access token is bound to a key of its session, and every request with the
// token carries a proof: a signed statement that its sender has the key. A stolen token is worth nothing
// without it.

// proofType is the type of a proof (RFC 9449 section 4.2).
const proofType = "dpop+jwt"

// useNonce is the error of a server that wants a nonce in the proof, or another one (RFC 9449 sections 8
// and 9).
const useNonce = "use_dpop_nonce"

const (
	// maxNonceBytes bounds a nonce, and maxNonces the servers whose nonces are kept.
	maxNonceBytes = 512
	maxNonces     = 100
	// proofRSABits is the size of an RSA key for proofs.
	proofRSABits = 2048
)

// ProofAlgorithms returns the algorithms that proofs can be signed with, those of this client and those of
// the callers of its API, the preferred first: those of the FAPI 2.0 Security Profile, section 5.4.1. PS256
// is last because generating an RSA key takes longer than the rest of a sign-in.
func ProofAlgorithms() []string { return []string{"ES256", "EdDSA", "PS256"} }

// proofAlgorithm returns the algorithm of proofs for a provider. One that does not say what it accepts is
// given the most common algorithm.
func (m *Metadata) proofAlgorithm() (string, error) {
	if len(m.DPoPAlgorithms) == 0 {
		return ProofAlgorithms()[0], nil
	}
	for _, alg := range ProofAlgorithms() {
		if slices.Contains(m.DPoPAlgorithms, alg) {
			return alg, nil
		}
	}
	return "", fmt.Errorf("the provider accepts DPoP proofs that are signed with %.300q, and this client (DPOP) signs with one of %q",
		strings.Join(m.DPoPAlgorithms, ","), strings.Join(ProofAlgorithms(), ","))
}

// ProofAlgorithm returns the algorithm of DPoP proofs for a provider with this metadata; "" without DPoP.
// The error says that there is none: every sign-in would fail at its end.
func (p *Provider) ProofAlgorithm(m *Metadata) (string, error) {
	if !p.cfg.DPoP {
		return "", nil
	}
	return m.proofAlgorithm()
}

// newProofKey makes the key of a session, in PKCS #8; "" if access tokens are bearer tokens.
func (p *Provider) newProofKey(m *Metadata) (Secret, error) {
	alg, err := p.ProofAlgorithm(m)
	if err != nil {
		return "", &Error{Reason: ReasonProviderMisconfigured, Err: err}
	}
	if alg == "" {
		return "", nil
	}
	var key crypto.Signer
	switch alg {
	case "PS256":
		key, err = rsa.GenerateKey(rand.Reader, proofRSABits)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return "", fmt.Errorf("openid: DPoP key: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("openid: DPoP key: %w", err)
	}
	return Secret(encoded), nil
}

// proofSigner returns a signer for proofs. The key determines the algorithm: the provider may have changed
// its list since the key was made.
func proofSigner(key Secret) (jose.Signer, error) {
	private, err := x509.ParsePKCS8PrivateKey([]byte(key))
	if err != nil {
		return nil, errors.New("openid: DPoP key: not one of this package")
	}
	alg := jose.ES256
	switch private.(type) {
	case *rsa.PrivateKey:
		alg = jose.PS256
	case ed25519.PrivateKey:
		alg = jose.EdDSA
	}
	return jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: private}, (&jose.SignerOptions{EmbedJWK: true}).WithType(proofType))
}

// proofClaims are the claims of a proof (RFC 9449 section 4.2).
type proofClaims struct {
	ID              string `json:"jti"`
	Method          string `json:"htm"`
	Address         string `json:"htu"`
	IssuedAt        int64  `json:"iat"`
	AccessTokenHash string `json:"ath,omitempty"`
	Nonce           string `json:"nonce,omitempty"`
}

// proof returns a proof for one request. access is the token that the request carries; "" at the
// authorization server.
func (p *Provider) proof(r *http.Request, key, access Secret, nonce string) (string, error) {
	claims := proofClaims{ID: RandomToken(), Method: r.Method, Address: proofAddress(r), IssuedAt: p.cfg.Now().Unix(), Nonce: nonce}
	if access != "" {
		claims.AccessTokenHash = hashOf(string(access))
	}
	signer, err := proofSigner(key)
	if err != nil {
		return "", err
	}
	proof, err := signClaims(signer, claims)
	if err != nil {
		return "", fmt.Errorf("openid: DPoP proof: %w", err)
	}
	return proof, nil
}

// proofAddress returns the address that a request is sent to, without its query and fragment, as the
// server sees it.
func proofAddress(r *http.Request) string {
	address := url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Path: r.URL.Path, RawPath: r.URL.RawPath}
	if r.Host != "" {
		address.Host = r.Host
	}
	if address.Path == "" {
		address.Path = "/"
	}
	return address.String()
}

// nonces holds the last nonce for proofs from each server: from the authorization server under "", and
// from a resource server under its origin. A nonce is good only at the server that gave it (RFC 9449
// sections 8 and 9).
type nonces struct {
	mu       sync.Mutex
	byServer map[string]string
}

const authorizationServer = ""

// resourceServer returns the name of the server that a request for a resource goes to.
func resourceServer(r *http.Request) string {
	return strings.ToLower(r.URL.Scheme + "://" + r.URL.Host)
}

func (n *nonces) of(server string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byServer[server]
}

// read keeps the nonce of a response, and reports whether there is one. A successful response may have
// one, too (RFC 9449 section 8.2).
func (n *nonces) read(server string, header http.Header) bool {
	nonce := header.Get("DPoP-Nonce")
	if len(header.Values("DPoP-Nonce")) != 1 || !isNonce(nonce) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.byServer[server]; !known && len(n.byServer) >= maxNonces {
		clear(n.byServer) // each of them costs one more request
	}
	if n.byServer == nil {
		n.byServer = make(map[string]string)
	}
	n.byServer[server] = nonce
	return true
}

// isNonce reports whether a text has the syntax of a nonce (RFC 9449 section 8.1).
func isNonce(text string) bool {
	return text != "" && len(text) <= maxNonceBytes && !strings.ContainsFunc(text, func(r rune) bool {
		return r < '!' || r > '~' || r == '"' || r == '\\'
	})
}

// Send sends a request for a protected resource with an access token: in a header (RFC 6750 section
// 2.1), and with a proof if the token is bound to a key (RFC 9449 section 7.1). send makes the call, as
// http.RoundTripper does.
//
// If the resource server asks for a nonce, Send sends the request once more, with a new proof. It does not
// if there is a body that cannot be read again: it returns the answer, to which [WantsNonce] applies, and
// the next request has the nonce.
func (p *Provider) Send(r *http.Request, tokens Tokens, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	resp, nonceGiven, err := p.sendOnce(r, tokens, send)
	if err != nil || !nonceGiven || !WantsNonce(resp) {
		return resp, err
	}
	again, ok := repeated(r)
	if !ok {
		return resp, nil
	}
	_ = resp.Body.Close()
	resp, _, err = p.sendOnce(again, tokens, send)
	return resp, err
}

// sendOnce sends a request with an access token. It also returns whether the response gives a nonce for
// the next proof.
func (p *Provider) sendOnce(r *http.Request, tokens Tokens, send func(*http.Request) (*http.Response, error)) (resp *http.Response, nonceGiven bool, err error) {
	out, server := r.Clone(r.Context()), resourceServer(r) // a RoundTripper leaves the caller's alone
	out.Header.Set("Authorization", tokens.Type()+" "+string(tokens.Access))
	if tokens.ProofKey != "" {
		proof, err := p.proof(r, tokens.ProofKey, tokens.Access, p.nonces.of(server))
		if err != nil {
			if r.Body != nil {
				_ = r.Body.Close()
			}
			return nil, false, err
		}
		out.Header.Set("DPoP", proof)
	}
	if resp, err = send(out); err != nil {
		return nil, false, err
	}
	return resp, tokens.ProofKey != "" && p.nonces.read(server, resp.Header), nil
}

// repeated returns a request with its body from the start, or false if the body cannot be read again.
func repeated(r *http.Request) (*http.Request, bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, true
	}
	if r.GetBody == nil {
		return nil, false
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, false
	}
	again := *r
	again.Body = body
	return &again, true
}

// WantsNonce reports whether a resource server has refused a request because its proof lacks the current
// nonce (RFC 9449 section 9). A challenge that only mentions the error's code counts, too: the request has
// been refused in any case.
func WantsNonce(resp *http.Response) bool {
	return resp.StatusCode == http.StatusUnauthorized &&
		slices.ContainsFunc(resp.Header.Values("WWW-Authenticate"), func(challenge string) bool { return strings.Contains(challenge, useNonce) })
}
