package devop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// maxSignedTTL is how long a client may make a JWT valid.
	maxSignedTTL = time.Hour
	responseTTL  = 10 * time.Minute
)

// clientAlgorithms returns the algorithms with which a client may sign.
func clientAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.PS256, jose.ES256, jose.EdDSA, jose.RS256, jose.ES384, jose.ES512}
}

// usedIDs knows the ids of the JWTs that clients have sent, or of their DPoP proofs. Each counts once.
type usedIDs struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// first reports whether an id has not been used before, and remembers it for as long as its JWT may count.
func (u *usedIDs) first(id string, now time.Time, ttl time.Duration) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.until) >= maxEntries {
		maps.DeleteFunc(u.until, func(_ string, until time.Time) bool { return now.After(until) })
	}
	if _, used := u.until[id]; used || len(u.until) >= maxEntries {
		return false
	}
	u.until[id] = now.Add(ttl)
	return true
}

// openSigned returns the claims of a JWT that a client has signed for this provider alone, and for one
// use: a client assertion (RFC 7523 section 3) or a request object (RFC 9101 section 6.2).
func (p *Provider) openSigned(client Client, compact string, types ...string) (map[string]any, error) {
	if client.Key == nil {
		return nil, fmt.Errorf("the client %q has no key", client.ID)
	}
	signed, err := jose.ParseSignedCompact(compact, clientAlgorithms())
	if err != nil {
		return nil, fmt.Errorf("not a JWT, or not signed with one of %s", clientAlgorithms())
	}
	typ, _ := signed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string)
	payload, err := signed.Verify(client.Key)
	if err != nil || !slices.Contains(types, typ) {
		return nil, fmt.Errorf("the signature is not that of the client's key, or typ is none of %q", types)
	}
	var claims map[string]any
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	if err := decoder.Decode(&claims); err != nil {
		return nil, fmt.Errorf("the claims cannot be parsed")
	}
	moment := func(name string) time.Time {
		number, _ := claims[name].(json.Number)
		seconds, _ := number.Int64()
		return time.Unix(seconds, 0)
	}
	now, id := p.now(), ""
	id, _ = claims["jti"].(string)
	switch {
	case claims["iss"] != client.ID:
		return nil, fmt.Errorf("iss is not the client's id")
	case claims["aud"] != p.cfg.Issuer:
		return nil, fmt.Errorf("aud is not the issuer")
	case !moment("exp").After(now) || moment("exp").Sub(now) > maxSignedTTL:
		return nil, fmt.Errorf("exp has passed, or is more than an hour away")
	case moment("nbf").After(now.Add(time.Minute)):
		return nil, fmt.Errorf("nbf is in the future")
	case id == "" || !p.used.first(client.ID+" "+id, now, maxSignedTTL):
		return nil, fmt.Errorf("jti is missing or was used before")
	}
	return claims, nil
}

// checkAssertion authenticates a client by its assertion, and by nothing else (RFC 7523 section 2.2).
func (p *Provider) checkAssertion(r *http.Request, values url.Values) (Client, error) {
	client, ok := p.client(values.Get("client_id"))
	if r.Header.Get("Authorization") != "" || values.Has("client_secret") {
		return Client{}, fail("invalid_request", "the client used two authentication methods")
	}
	if !ok || values.Get("client_assertion_type") != assertionType {
		return Client{}, fail("invalid_client", "unknown client or another type of assertion")
	}
	claims, err := p.openSigned(client, values.Get("client_assertion"), "JWT", "")
	if err == nil && claims["sub"] != client.ID {
		err = fmt.Errorf("sub is not the client's id")
	}
	if err != nil {
		return Client{}, fail("invalid_client", "client assertion: "+printable(err.Error()))
	}
	return client, nil
}

// openRequest returns the parameters of an authorization request: those of its request object alone, if
// it has one (RFC 9101 section 6.3).
func (p *Provider) openRequest(values url.Values) (url.Values, error) {
	refused := p.workbench.happens(faultObject)
	client, ok := p.client(values.Get("client_id"))
	if !values.Has("request") || !ok || client.Key == nil {
		return values, nil // readAuthorization refuses an object
	}
	if refused {
		return nil, fail("invalid_request_object", "refused by an injected fault")
	}
	claims, err := p.openSigned(client, values.Get("request"), "oauth-authz-req+jwt")
	if err == nil && claims["client_id"] != client.ID {
		err = fmt.Errorf("client_id is missing or differs")
	}
	if err != nil {
		return nil, fail("invalid_request_object", "request object: "+printable(err.Error()))
	}
	opened := make(url.Values)
	for name, value := range claims {
		if slices.Contains([]string{"iss", "aud", "exp", "nbf", "iat", "jti", "request", "request_uri"}, name) {
			continue
		}
		list, isList := value.([]any)
		if !isList {
			list = []any{value}
		}
		for _, one := range list {
			opened.Add(name, fmt.Sprint(one))
		}
	}
	return opened, nil
}

// signedMode reports whether a response mode is one of JARM, and returns the mode by which the response
// is sent.
func signedMode(mode string) (plain string, signed bool) {
	switch mode {
	case "jwt", "query.jwt":
		return "query", true
	default:
		plain, signed = strings.CutSuffix(mode, ".jwt")
		return plain, signed
	}
}

// signResponse returns an authorization response as a JWT (JARM section 2.1).
func (p *Provider) signResponse(client Client, values url.Values) (url.Values, error) {
	claims := map[string]any{"iss": p.cfg.Issuer, "aud": client.ID, "exp": p.now().Add(responseTTL).Unix()}
	for name := range values {
		claims[name] = values.Get(name)
	}
	if p.workbench.happens(faultResponse) {
		claims["aud"] = "another client"
	}
	compact, err := p.sign("JWT", claims)
	return url.Values{"response": {compact}}, err
}
