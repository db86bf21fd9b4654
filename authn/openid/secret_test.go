package openid_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"latchkey/authn/openid"
)

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

func TestASecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	secret := openid.Secret(visible)
	type holder struct {
		Name   string
		Secret openid.Secret
		Many   []openid.Secret
		ByName map[string]openid.Secret
		ByKey  map[openid.Secret]int
		Any    any
	}
	held := holder{"n", secret, []openid.Secret{secret}, map[string]openid.Secret{"k": secret}, map[openid.Secret]int{secret: 1}, secret}
	tokens := openid.Tokens{Access: secret, Refresh: secret, IDToken: secret}
	config := openid.Config{ClientSecret: secret}
	// go vet refuses %p and %w for a string, because fmt would call no method.
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
		t.Error("control: a conversion does not return the value")
	}
}

func TestASecretIsNeverLoggedOrMarshalled(t *testing.T) {
	t.Parallel()
	secret := openid.Secret(visible)
	tokens := openid.Tokens{Access: secret, Refresh: secret, IDToken: secret}
	var buf bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&buf, nil), slog.NewJSONHandler(&buf, nil)} {
		slog.New(handler).With("s", secret).Info("message", "secret", secret, "pointer", &secret, "tokens", tokens,
			"list", []openid.Secret{secret}, slog.Group("group", "secret", secret))
	}
	if n := strings.Count(buf.String(), "[hidden]"); n < 10 {
		t.Errorf("hidden only %d times: %s", n, buf.String())
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
