package authn

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
)

// What follows lets the fuzz targets reach a parser without a network in between.

// VerifyIDToken returns the subject of an ID token that is accepted.
func (rp *RelyingParty) VerifyIDToken(ctx context.Context, raw, nonce string) (string, error) {
	t, err := rp.verifyIDToken(ctx, raw, idTokenCheck{nonce: nonce, accessToken: "access"})
	if err != nil {
		return "", err
	}
	return t.subject, nil
}

// SealTransaction returns the cookie of a transaction that reads as plain.
func (rp *RelyingParty) SealTransaction(state string, plain []byte) (*http.Cookie, error) {
	t := transaction{state: state}
	sealed, err := rp.cfg.Keys.seal(transactionPurpose, nil, plain, []byte(t.cookieName()))
	return &http.Cookie{Name: rp.cookies.name(t.cookieName()), Value: base64.RawURLEncoding.EncodeToString(sealed)}, err
}

// OpenTransaction returns what SealTransaction sealed.
func (rp *RelyingParty) OpenTransaction(state, value string) ([]byte, error) {
	t, err := rp.open((&transaction{state: state}).cookieName(), value)
	if err != nil {
		return nil, err
	}
	return t.encode(), nil
}

// ParseKeys returns how many keys of a key set are used.
func ParseKeys(document []byte) (int, error) {
	keys, err := parseKeys(document)
	return len(keys), err
}

// ParseMetadata reads a discovery document as discovery does.
func ParseMetadata(document []byte, issuer string) (*Metadata, error) {
	m := new(Metadata)
	if err := json.Unmarshal(document, m); err != nil {
		return nil, err
	}
	return m, m.validate(Config{Issuer: issuer, IDTokenAlgorithms: []string{"RS256", "ES256"}}, presetOf(issuer))
}
