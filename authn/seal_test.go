package authn_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"latchkey/authn"
	"latchkey/authn/openid"
)

func TestNewKeys(t *testing.T) {
	t.Parallel()
	short := openid.Secret(strings.Repeat("s", 31))
	for _, c := range []struct {
		name    string
		secrets []openid.Secret
		says    string // "" accepts
	}{
		{"none", nil, "no application secret"},
		{"empty", []openid.Secret{""}, "secret 1 has 0 bytes"},
		{"31 bytes", []openid.Secret{short}, "secret 1 has 31 bytes, it needs 32"},
		{"32 bytes", []openid.Secret{short + "s"}, ""},
		{"a short one behind", []openid.Secret{appSecret, short}, "secret 2 has 31 bytes"},
		{"two", []openid.Secret{appSecret, oldSecret}, ""},
	} {
		keys, err := authn.NewKeys(c.secrets...)
		switch {
		case c.says == "" && (err != nil || keys == nil):
			t.Errorf("%s: %v", c.name, err)
		case c.says != "" && (err == nil || keys != nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		case err != nil && strings.Contains(err.Error(), "sss"):
			t.Errorf("%s: the error reveals the secret: %v", c.name, err)
		}
	}
}

// TestSealIsBound (CK-09) opens a sealed text with another secret, purpose, salt or
// additional data.
func TestSealIsBound(t *testing.T) {
	t.Parallel()
	var (
		plain      = []byte("what nobody else may read")
		salt       = []byte("salt")
		additional = []byte("bound to")
		keys       = newKeys(t, appSecret)
	)
	sealed, err := keys.Seal("session", salt, plain, additional)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int) []byte {
		b := bytes.Clone(sealed)
		b[at] ^= 1
		return b
	}
	for _, c := range []struct {
		name             string
		keys             *authn.Keys
		purpose          string
		salt             []byte
		sealed           []byte
		additional       []byte
		opens, isCurrent bool
	}{
		{"everything right", keys, "session", salt, sealed, additional, true, true},
		{"the same secret again", newKeys(t, appSecret), "session", salt, sealed, additional, true, true},
		{"CK-08 the secret is the second", newKeys(t, oldSecret, appSecret), "session", salt, sealed, additional, true, false},
		{"CK-08 the secret is the first", newKeys(t, appSecret, oldSecret), "session", salt, sealed, additional, true, true},
		{"CK-08 the secret is gone", newKeys(t, oldSecret), "session", salt, sealed, additional, false, false},
		{"CK-09 another purpose", keys, "transaction", salt, sealed, additional, false, false},
		{"another salt", keys, "session", []byte("salT"), sealed, additional, false, false},
		{"no salt", keys, "session", nil, sealed, additional, false, false},
		{"bound to something else", keys, "session", salt, sealed, []byte("bound too"), false, false},
		{"bound to nothing", keys, "session", salt, sealed, nil, false, false},
		{"nothing", keys, "session", salt, nil, additional, false, false},
		{"the nonce alone", keys, "session", salt, sealed[:12], additional, false, false},
		{"cut short", keys, "session", salt, sealed[:len(sealed)-1], additional, false, false},
		{"too long", keys, "session", salt, append(bytes.Clone(sealed), 0), additional, false, false},
		{"another nonce", keys, "session", salt, changed(0), additional, false, false},
		{"another text", keys, "session", salt, changed(12), additional, false, false},
		{"another tag", keys, "session", salt, changed(len(sealed) - 1), additional, false, false},
	} {
		opened, current, err := c.keys.Open(c.purpose, c.salt, c.sealed, c.additional)
		if (err == nil) != c.opens || current != c.isCurrent {
			t.Errorf("%s: opened %t, by the current secret %t, error %v", c.name, err == nil, current, err)
		}
		if c.opens && !bytes.Equal(opened, plain) || !c.opens && opened != nil {
			t.Errorf("%s: opened %q", c.name, opened)
		}
	}
}

func TestASealIsNeverTheSameTwice(t *testing.T) {
	t.Parallel()
	keys, seen := newKeys(t, appSecret), map[string]bool{}
	for range 1000 {
		sealed, err := keys.Seal("session", nil, []byte("the same"), nil)
		if err != nil || seen[string(sealed[:12])] {
			t.Fatalf("repeated nonce, or error %v", err)
		}
		if bytes.Contains(sealed, []byte("the same")) {
			t.Fatal("the sealed text contains the plain text")
		}
		seen[string(sealed[:12])] = true
	}
}

func TestANewSecretSealsAtOnce(t *testing.T) {
	t.Parallel()
	sealed, err := newKeys(t, appSecret, oldSecret).Seal("session", nil, []byte("text"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := newKeys(t, oldSecret).Open("session", nil, sealed, nil); err == nil {
		t.Error("the old secret opens the text")
	}
	if _, current, err := newKeys(t, appSecret).Open("session", nil, sealed, nil); err != nil || !current {
		t.Errorf("the new secret does not open the text: %v", err)
	}
}

// visible is a part of the secrets in these tests. No output may contain it, in clear or as
// the hexadecimal or decimal bytes that fmt prints.
const visible = "l34k"

func wantHidden(t *testing.T, what, output string) {
	t.Helper()
	for _, form := range []string{visible, "6c33346b", "6C33346B", "6c 33 34 6b", "108 51 52 107", "0x6c, 0x33"} {
		if strings.Contains(output, form) {
			t.Errorf("%s shows the secret: %.200s", what, output)
		}
	}
}

// fmt prints unexported fields without calling the methods of a Secret in them.
func TestWhatKeepsSecretsInsideIsNotPrintedWhole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	in := signInOf("alice")
	in.Tokens = openid.Tokens{Access: visible + "access", Refresh: visible + "refresh", IDToken: visible + "id"}
	session, value := newVisitor(t).signIn(t, s, in)
	loaded := s.wantPerson(t, value, "alice")
	config := s.config
	config.ClientSecret = visible + "client"
	config.Sessions.Keys = newKeys(t, visible+appSecret)
	provider, cfg := config.build(t)
	rp, err := authn.NewRelyingParties(cfg)
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := authn.NewSessions(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, cookieSecret, _ := strings.Cut(value, ".")
	var buf bytes.Buffer
	log := slog.New(slog.NewTextHandler(&buf, nil))
	for _, kept := range []any{
		session, *session, loaded,
		[]*authn.Session{loaded},
		in, *in, config, &config, config.Config, &config.Config, cfg, &cfg, provider, *provider, config.Sessions.Keys, *config.Sessions.Keys,
		rp, *rp, rp.First(), *rp.First(), sessions, authn.NewTokenSource(rp, sessions), authn.NewContext(t.Context(), loaded),
	} {
		for _, format := range []string{"%v", "%+v", "%#v"} {
			output := fmt.Sprintf(format, kept)
			wantHidden(t, fmt.Sprintf("%s of %T", format, kept), output)
			if strings.Contains(output, cookieSecret) {
				t.Errorf("%s of %T shows the cookie's secret", format, kept)
			}
		}
		log.Info("message", "kept", kept)
	}
	wantHidden(t, "slog", buf.String())
	if got, want := fmt.Sprint(loaded), "session "+loaded.LogID(); got != want {
		t.Errorf("a session prints as %q, want %q", got, want)
	}
	output, err := json.Marshal(loaded)
	if err != nil {
		t.Fatal(err)
	}
	wantHidden(t, "json of a session", string(output))
}
