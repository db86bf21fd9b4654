package authn

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxJWTBytes = 32 << 10
	// leeway is how far the provider's clock and ours may differ.
	leeway = time.Minute
)

// checkForm refuses what is not a signed JWT in the compact serialization (RFC 7519
// section 1), or not of a type that is expected, before anything is done with it:
// no key is looked up and nothing is fetched for it.
//
// types are the media types that the header's typ may name (RFC 8725 section 3.11).
// A header without typ, and "JWT", say nothing and are accepted if lax is set.
func checkForm(token string, lax bool, types ...string) error {
	if len(token) > maxJWTBytes {
		return errors.New("the token is too long")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("the token is not a compact JWS")
	}
	decoded := make([][]byte, 3)
	for i, part := range parts {
		var err error
		// RawURLEncoding skips line breaks; a token has none.
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil || part == "" || strings.ContainsAny(part, "\r\n") {
			return errors.New("the token is not base64url")
		}
	}
	header, err := parseStrict(decoded[0])
	if err != nil {
		return fmt.Errorf("the token's header: %w", err)
	}
	if header.has("crit") {
		return errors.New("the token has critical header parameters") // RFC 7515 section 4.1.11: none is understood here
	}
	typ, err := header.string("typ")
	if err != nil {
		return err
	}
	return checkType(typ, lax, types)
}

func checkType(typ string, lax bool, types []string) error {
	name := strings.TrimPrefix(strings.ToLower(typ), "application/")
	if lax && (name == "" || name == "jwt") {
		return nil
	}
	if slices.Contains(types, name) {
		return nil
	}
	return errors.New("the token's typ is that of another kind of token")
}

// algorithms are the ones that the provider may sign with: those of the configuration,
// never those of its metadata alone (RFC 8725 section 3.1).
func (rp *RelyingParty) algorithms() []jose.SignatureAlgorithm {
	return signatureAlgorithmsOf(rp.cfg.IDTokenAlgorithms)
}
