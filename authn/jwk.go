package authn

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxKeys    = 100
	minRSABits = 2048
)

// signatureAlgorithms are the asymmetric algorithms of RFC 7518 and RFC 8037 that
// may be configured at all. Neither none nor HS*: with HS* the provider's public
// key, or our own client secret, would be the key.
var signatureAlgorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// parseKeys reads the public signature keys out of a key set. A key that is
// malformed, of an unknown kind or not for signatures is skipped by itself (RFC
// 7517 section 5). A set without any usable key is refused, so that it does not
// replace one that has some.
func parseKeys(document []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, errors.New("the key set is not valid JSON")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has %d keys, more than %d", len(set.Keys), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && usable(key) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set holds no usable signature key")
	}
	return keys, nil
}

// usable accepts public keys for signatures (RFC 7517 section 4.2) of a strength
// that still means something. A private key that is published signs for everybody.
func usable(key jose.JSONWebKey) bool {
	if !key.IsPublic() || (key.Use != "" && key.Use != "sig") {
		return false
	}
	return slices.ContainsFunc(signatureAlgorithms, func(alg jose.SignatureAlgorithm) bool {
		return fits(key, string(alg))
	})
}

// fits reports whether a key may verify a signature of this algorithm: its type and
// curve must be the algorithm's, and its own alg, if it has one, must be it.
func fits(key jose.JSONWebKey, alg string) bool {
	if key.Algorithm != "" && key.Algorithm != alg {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return (alg[:2] == "RS" || alg[:2] == "PS") && public.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		switch alg {
		case "ES256":
			return public.Curve == elliptic.P256()
		case "ES384":
			return public.Curve == elliptic.P384()
		case "ES512":
			return public.Curve == elliptic.P521()
		}
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}
