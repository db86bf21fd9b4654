package scriptedop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"maps"
	"math/big"
	"slices"

	_ "crypto/sha256" // hash functions for signatures
	_ "crypto/sha512"
)

// Key is a signing key.
type Key struct {
	// ID is the kid. If it is empty, neither the key nor its signatures have one.
	ID string
	// Algorithm is the signature algorithm: RS256 to RS512, PS256 to PS512, ES256 to ES512,
	// EdDSA, or one that no relying party should accept: HS256 to HS512, none.
	Algorithm string
	// Private is an *rsa.PrivateKey, an *ecdsa.PrivateKey, an ed25519.PrivateKey, or a
	// []byte for HMAC. If it is nil, signatures are empty.
	Private any
}

// NewKey makes a key for an algorithm.
func NewKey(id, algorithm string) Key {
	var private any
	var err error
	switch algorithm {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		panic("scriptedop: " + err.Error())
	}
	return Key{ID: id, Algorithm: algorithm, Private: private}
}

// JWK returns the public key in its published form (RFC 7517, RFC 7518 section 6, RFC 8037
// section 2). The caller may change it.
func (k Key) JWK() map[string]any {
	jwk := map[string]any{"use": "sig"}
	if k.ID != "" {
		jwk["kid"] = k.ID
	}
	switch private := k.Private.(type) {
	case *rsa.PrivateKey:
		jwk["kty"], jwk["n"], jwk["e"] = "RSA", encode(private.N.Bytes()), encode(big.NewInt(int64(private.E)).Bytes())
	case *ecdsa.PrivateKey:
		point, err := private.PublicKey.Bytes() // 4, x, y (SEC 1 section 2.3.3)
		if err != nil {
			panic("scriptedop: " + err.Error())
		}
		half := len(point) / 2
		jwk["kty"], jwk["crv"] = "EC", private.Curve.Params().Name
		jwk["x"], jwk["y"] = encode(point[1:1+half]), encode(point[1+half:])
	case ed25519.PrivateKey:
		jwk["kty"], jwk["crv"], jwk["x"] = "OKP", "Ed25519", encode(private.Public().(ed25519.PublicKey))
	case []byte:
		jwk["kty"], jwk["k"] = "oct", encode(private)
	}
	return jwk
}

// Thumbprint returns the SHA-256 thumbprint of the public key, as in the jkt of an access token that is
// bound to it (RFC 7638 section 3, RFC 9449 section 6.1).
func (k Key) Thumbprint() string {
	required := k.JWK()
	maps.DeleteFunc(required, func(member string, _ any) bool {
		return !slices.Contains([]string{"kty", "crv", "x", "y", "n", "e", "k"}, member)
	})
	return hash(string(marshal(required))) // members in the order of their names, without spaces
}

// hash is the hash function of the algorithm and of at_hash.
func (k Key) hash() crypto.Hash {
	switch {
	case k.Algorithm == "EdDSA", k.Algorithm[max(0, len(k.Algorithm)-3):] == "512":
		return crypto.SHA512
	case k.Algorithm[max(0, len(k.Algorithm)-3):] == "384":
		return crypto.SHA384
	default:
		return crypto.SHA256
	}
}

// sign signs input (RFC 7518 section 3, RFC 8037 section 3.1).
func (k Key) sign(input []byte) []byte {
	h := k.hash().New()
	h.Write(input)
	digest := h.Sum(nil)
	var signature []byte
	var err error
	switch private := k.Private.(type) {
	case *rsa.PrivateKey:
		if k.Algorithm[0] == 'P' {
			signature, err = rsa.SignPSS(rand.Reader, private, k.hash(), digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			signature, err = rsa.SignPKCS1v15(rand.Reader, private, k.hash(), digest)
		}
	case *ecdsa.PrivateKey:
		signature, err = signECDSA(private, digest)
	case ed25519.PrivateKey:
		signature = ed25519.Sign(private, input)
	case []byte:
		mac := hmac.New(k.hash().New, private)
		mac.Write(input)
		signature = mac.Sum(nil)
	case nil:
	default:
		err = fmt.Errorf("%T cannot sign", private)
	}
	if err != nil {
		panic("scriptedop: " + err.Error())
	}
	return signature
}

// verify reports whether the key made the signature.
func (k Key) verify(input, signature []byte) bool {
	h := k.hash().New()
	h.Write(input)
	digest := h.Sum(nil)
	switch private := k.Private.(type) {
	case *rsa.PrivateKey:
		if k.Algorithm[0] == 'P' {
			options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return rsa.VerifyPSS(&private.PublicKey, k.hash(), digest, signature, options) == nil
		}
		return rsa.VerifyPKCS1v15(&private.PublicKey, k.hash(), digest, signature) == nil
	case *ecdsa.PrivateKey:
		size := (private.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(&private.PublicKey, digest, r, s)
	case ed25519.PrivateKey:
		return ed25519.Verify(private.Public().(ed25519.PublicKey), input, signature)
	default:
		return false
	}
}

// signECDSA returns r and s, each padded to the length of the curve (RFC 7518 section 3.4).
func signECDSA(private *ecdsa.PrivateKey, digest []byte) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, private, digest)
	if err != nil {
		return nil, err
	}
	size := (private.Curve.Params().BitSize + 7) / 8
	signature := make([]byte, 2*size)
	r.FillBytes(signature[:size])
	s.FillBytes(signature[size:])
	return signature, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
