package authn

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"latchkey/authn/openid"
)

// sealTag is the length of the tag at the end of sealed data. No two seals have the same, because
// each has a nonce of its own.
const sealTag = 16

// tagOf returns the tag of sealed data.
func tagOf(sealed []byte) (tag [sealTag]byte) {
	if len(sealed) >= sealTag {
		copy(tag[:], sealed[len(sealed)-sealTag:])
	}
	return tag
}

// MinSecretBytes is the least length of an application secret: 256 bits.
const MinSecretBytes = 32

// errSealBroken says that sealed data cannot be opened: another key sealed it, or it was
// changed. The two cannot be told apart.
var errSealBroken = errors.New("authn: the seal is broken")

// Keys seals what leaves this process: transactions in cookies, sessions in the store. Each
// purpose has a key of its own, derived from the application's secret by HKDF-SHA256 (RFC
// 5869), so that nothing sealed for one purpose opens for another.
//
// The first secret seals; the others only open, so that a secret can be replaced without
// signing anyone out.
type Keys struct {
	secrets [][]byte
	naming  [][]byte // for names, derived from each secret
	binding [][]byte // for device-bound sessions, likewise
}

// NewKeys returns keys for the application's secrets, the current one first.
func NewKeys(secrets ...openid.Secret) (*Keys, error) {
	if len(secrets) == 0 {
		return nil, errors.New("authn: no application secret")
	}
	k := &Keys{}
	for i, s := range secrets {
		if len(s) < MinSecretBytes {
			return nil, fmt.Errorf("authn: application secret %d has %d bytes, it needs %d or more", i+1, len(s), MinSecretBytes)
		}
		naming, err := deriveKey([]byte(s), nil, namePurpose)
		if err != nil {
			return nil, err
		}
		binding, err := deriveKey([]byte(s), nil, bindingPurpose)
		if err != nil {
			return nil, err
		}
		k.secrets, k.naming, k.binding = append(k.secrets, []byte(s)), append(k.naming, naming), append(k.binding, binding)
	}
	return k, nil
}

// Format implements fmt.Formatter for every verb: fmt would print the secrets.
func (Keys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[hidden]") }

// seal encrypts plaintext with AES-256-GCM under the current secret. To open it needs the same
// purpose, salt and additional data.
func (k *Keys) seal(purpose string, salt, plaintext, additional []byte) ([]byte, error) {
	aead, err := newAEAD(k.secrets[0], salt, purpose)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plaintext, additional), nil
}

// open decrypts what seal returned and reports whether the current secret sealed it. It returns
// errSealBroken if no secret opens it.
func (k *Keys) open(purpose string, salt, sealed, additional []byte) (plaintext []byte, current bool, err error) {
	for i, secret := range k.secrets {
		aead, err := newAEAD(secret, salt, purpose)
		if err != nil {
			return nil, false, err
		}
		if plaintext, err := aead.Open(nil, nil, sealed, additional); err == nil {
			return plaintext, i == 0, nil
		}
	}
	return nil, false, errSealBroken
}

// newAEAD returns the cipher for a purpose. The nonce is random and precedes the ciphertext.
func newAEAD(secret, salt []byte, purpose string) (cipher.AEAD, error) {
	key, err := deriveKey(secret, salt, purpose)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("authn: deriving a key: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func deriveKey(secret, salt []byte, purpose string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, secret, salt, "latchkey 1 "+purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("authn: deriving a key: %w", err)
	}
	return key, nil
}
