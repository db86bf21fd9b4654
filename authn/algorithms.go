package authn

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// errAlgorithm says that a token is signed with an algorithm that is not allowed.
var errAlgorithm = errors.New("not signed with an allowed algorithm")

// algorithms returns which of the allowed algorithms the provider says that it signs ID
// tokens with; all of them where it says nothing. Metadata takes away and never adds:
// what is allowed is ours to say (RFC 8725 section 3.1).
func (m *Metadata) algorithms(allowed []string) []string {
	if len(m.IDTokenAlgorithms) == 0 {
		return allowed
	}
	return slices.DeleteFunc(slices.Clone(allowed), func(alg string) bool { return !slices.Contains(m.IDTokenAlgorithms, alg) })
}

// checkAlgorithms refuses a provider none of whose algorithms is allowed: every sign-in
// would fail at its end.
func (m *Metadata) checkAlgorithms(allowed []string) error {
	if len(m.algorithms(allowed)) > 0 {
		return nil
	}
	return fmt.Errorf("the provider signs ID tokens with %.300q, the configuration (ID_TOKEN_ALG) allows %q",
		strings.Join(m.IDTokenAlgorithms, ","), strings.Join(allowed, ","))
}

// idTokenAlgorithms are those that an ID token, and a logout token, may be signed with now.
func (rp *RelyingParty) idTokenAlgorithms() []jose.SignatureAlgorithm {
	allowed := rp.cfg.IDTokenAlgorithms
	if m, err := rp.provider.ready(); err == nil {
		allowed = m.algorithms(allowed)
	}
	return signatureAlgorithmsOf(allowed)
}

// parseSigned reads such a token before it is verified, and refuses another algorithm
// before a key is looked up for it.
func (rp *RelyingParty) parseSigned(raw string) (*jose.JSONWebSignature, error) {
	jws, err := jose.ParseSignedCompact(raw, rp.idTokenAlgorithms())
	if err != nil {
		return nil, errAlgorithm
	}
	return jws, nil
}

// signatureAlgorithmsOf names algorithms as go-jose does.
func signatureAlgorithmsOf(names []string) []jose.SignatureAlgorithm {
	list := make([]jose.SignatureAlgorithm, len(names))
	for i, name := range names {
		list[i] = jose.SignatureAlgorithm(name)
	}
	return list
}
