package authn_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"latchkey/authn"
)

// visible is a part of the secrets of these tests; no output may hold it, in clear
// or as the hexadecimal or decimal bytes that fmt makes of it.
const visible = "l34k"

func wantHidden(t *testing.T, what, output string) {
	t.Helper()
	for _, form := range []string{visible, "6c33346b", "6C33346B", "6c 33 34 6b", "108 51 52 107", "0x6c, 0x33"} {
		if strings.Contains(output, form) {
			t.Errorf("%s shows the secret: %.200s", what, output)
		}
	}
}

func TestASecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	secret := authn.Secret(visible)
	type holder struct {
		Name   string
		Secret authn.Secret
		Many   []authn.Secret
		ByName map[string]authn.Secret
		ByKey  map[authn.Secret]int
		Any    any
	}
	held := holder{"n", secret, []authn.Secret{secret}, map[string]authn.Secret{"k": secret}, map[authn.Secret]int{secret: 1}, secret}
	tokens := authn.Tokens{Access: secret, Refresh: secret, IDToken: secret}
	config := authn.Config{ClientSecret: secret}
	// go vet refuses %p and %w for a string: fmt would ask no method.
	for _, verb := range "vsqxXdtbcoOeEfFgGU!z" {
		for _, flags := range []string{"", "+", "#", "-", " ", "0", "20", ".3", "+20.2"} {
			format := "%" + flags + string(verb)
			if got := fmt.Sprintf(format, secret); got != "[hidden]" {
				t.Errorf("%s prints %q", format, got)
			}
			for _, value := range []any{&secret, held, &held, tokens, &tokens, config, &config, []any{secret}} {
				wantHidden(t, fmt.Sprintf("%s of %T", format, value), fmt.Sprintf(format, value))
			}
		}
	}
	wantHidden(t, "Sprint", fmt.Sprint(secret, held))
	wantHidden(t, "Errorf", fmt.Errorf("failed: %v: %w", secret, errors.New("x")).Error())
	if string(secret) != visible {
		t.Error("the twin: a conversion returns the value")
	}
}

func TestASecretIsNeverLoggedOrMarshalled(t *testing.T) {
	t.Parallel()
	secret := authn.Secret(visible)
	tokens := authn.Tokens{Access: secret, Refresh: secret, IDToken: secret}
	var buf bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&buf, nil), slog.NewJSONHandler(&buf, nil)} {
		slog.New(handler).With("s", secret).Info("message", "secret", secret, "pointer", &secret, "tokens", tokens,
			"list", []authn.Secret{secret}, slog.Group("group", "secret", secret))
	}
	if n := strings.Count(buf.String(), "[hidden]"); n < 10 {
		t.Errorf("hidden %d times only: %s", n, buf.String())
	}
	wantHidden(t, "slog", buf.String())

	for name, marshal := range map[string]func(any) ([]byte, error){"json": json.Marshal, "xml": xml.Marshal} {
		for _, value := range []any{secret, tokens, &tokens} {
			output, err := marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			wantHidden(t, name, string(output))
		}
	}
}

// fmt reads unexported fields without asking a Secret that lies there.
func TestWhatKeepsSecretsInsideIsNotPrintedWhole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	in := signInOf("alice")
	in.Tokens = authn.Tokens{Access: visible + "access", Refresh: visible + "refresh", IDToken: visible + "id"}
	session, value := newVisitor(t).signIn(t, s, in)
	loaded := s.wantPerson(t, value, "alice")
	config := s.config
	config.ClientSecret = visible + "client"
	config.Keys = newKeys(t, visible+appSecret)
	rp, err := authn.NewRelyingParty(config)
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := authn.NewSessions(config)
	if err != nil {
		t.Fatal(err)
	}
	_, cookieSecret, _ := strings.Cut(value, ".")
	var buf bytes.Buffer
	log := slog.New(slog.NewTextHandler(&buf, nil))
	for _, kept := range []any{
		session, *session, loaded,
		[]*authn.Session{loaded},
		in, *in, config, &config, config.Keys, *config.Keys,
		rp, *rp, sessions, authn.NewTokenSource(rp, sessions), authn.NewContext(t.Context(), loaded),
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
