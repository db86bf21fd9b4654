package openid

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// DeviceProofAlgorithm is the one algorithm of device proofs. Every browser that has them has it.
const DeviceProofAlgorithm = string(jose.ES256)

// maxProofBytes bounds a device proof. One with its key and an authorization has less than 1 KB.
const maxProofBytes = 4 << 10

// DeviceKey is the public key of a device: a point of P-256, uncompressed.
type DeviceKey []byte

// DeviceProof is a browser's proof that it has the private key of a device: a JWT of Device Bound
// Session Credentials (W3C draft, section "DBSC Proof JWTs").
type DeviceProof struct {
	// Challenge is the one that the browser answers, and Authorization is what came with the offer of
	// a registration. Nothing is known of them before Verify.
	Challenge, Authorization string

	token *signedToken
	jws   *jose.JSONWebSignature
}

// ParseDeviceProof parses a proof and checks its form: its type and its algorithm (RFC 8725 sections
// 3.1 and 3.11).
func ParseDeviceProof(raw string) (*DeviceProof, error) {
	if len(raw) > maxProofBytes {
		return nil, errors.New("the proof is too long")
	}
	token, err := parseToken(raw)
	if err != nil {
		return nil, err
	}
	if err := token.checkSigned(); err != nil {
		return nil, err
	}
	if token.typ != "dbsc+jwt" {
		return nil, errors.New("the proof's typ is that of another kind of token")
	}
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, fmt.Errorf("the proof's alg is %.20q, or its header is malformed", token.alg)
	}
	p := &DeviceProof{token: token, jws: jws}
	if p.Challenge, err = token.claims.string("jti"); err != nil {
		return nil, err
	}
	p.Authorization, err = token.claims.string("authorization")
	return p, err
}

// Key returns the key in the proof's header, which only the proof of a registration has.
func (p *DeviceProof) Key() (DeviceKey, error) {
	jwk := p.jws.Signatures[0].Protected.JSONWebKey
	if jwk == nil {
		return nil, errors.New("the proof has no key")
	}
	key, ok := jwk.Key.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the proof's key is not a public key of P-256")
	}
	return key.Bytes()
}

// Verify checks that a key has signed the proof, and that it is for an endpoint: aud is optional in
// the draft. A key in the proof's header does not count.
func (p *DeviceProof) Verify(key DeviceKey, endpoint string) error {
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), key)
	if err != nil {
		return fmt.Errorf("the stored key is damaged: %w", err)
	}
	if p.token.claims.has("aud") {
		if aud, err := p.token.claims.audience(); err != nil || !slices.Contains(aud, endpoint) {
			return errors.New("the proof is for another endpoint")
		}
	}
	if _, err := p.jws.Verify(public); err != nil {
		return errors.New("the proof is not signed with the key")
	}
	return nil
}
