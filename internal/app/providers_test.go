package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/app"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// several returns a valid configuration of two providers.
func several(changes ...string) []string {
	return append([]string{
		"PROVIDERS=work,google", "WORK_OIDC_ISSUER=https://id.example.com", "WORK_CLIENT_ID=c1", "WORK_CLIENT_SECRET=kept-to-ourselves",
		"GOOGLE_OIDC_ISSUER=https://accounts.google.com", "GOOGLE_CLIENT_ID=c2", "GOOGLE_CLIENT_SECRET=kept-to-yourselves",
	}, changes...)
}

// TestFaultsOfSeveralProviders checks that each fault is reported, once, under the full name of its
// variable.
func TestFaultsOfSeveralProviders(t *testing.T) {
	t.Parallel()
	const (
		acme   = "11111111-2222-4333-8444-555555555555"
		common = "https://login.microsoftonline.com/common/v2.0"
	)
	for name, tt := range map[string]struct {
		env  []string
		want []string // the variables of the faults, in order
	}{
		"none":                            {several(), nil},
		"settings for all":                {several("AUTH0_SCOPES=openid email", "ID_TOKEN_ALG=ES256", "USERINFO=required", "WORK_USERINFO=optional"), nil},
		"a domain in quotation marks":     {several(`WORK_EMAIL_DOMAINS="example.com,example.org"`), []string{"WORK_EMAIL_DOMAINS", "WORK_EMAIL_DOMAINS"}},
		"many tenants":                    {several("WORK_OIDC_ISSUER="+common, "WORK_OIDC_TENANTS="+acme), nil},
		"many tenants, alone":             {other(common, "OIDC_TENANTS="+acme), nil},
		"a name with a hyphen":            {several("PROVIDERS=work,google,at-home"), []string{"PROVIDERS"}},
		"a name in capitals":              {several("PROVIDERS=work,Google"), []string{"PROVIDERS"}},
		"a name that begins with a digit": {several("PROVIDERS=work,google,1st"), []string{"PROVIDERS"}},
		"a name twice":                    {several("PROVIDERS=work,google,work"), []string{"PROVIDERS"}},
		"a name of variables":             {several("PROVIDERS=work,google,auth0"), []string{"PROVIDERS"}},
		"no good name":                    {[]string{"PROVIDERS=Work"}, []string{"PROVIDERS"}},
		"the issuer of all":               {several("OIDC_ISSUER=https://id.example.org"), []string{"OIDC_ISSUER"}},
		"the client of all":               {several("AUTH0_CLIENT_ID=c", "AUTH0_CLIENT_SECRET=s"), []string{"AUTH0_CLIENT_ID", "AUTH0_CLIENT_SECRET"}},
		"no issuer":                       {several("WORK_OIDC_ISSUER="), []string{"WORK_OIDC_ISSUER"}},
		"no client":                       {several("WORK_CLIENT_ID=", "GOOGLE_CLIENT_SECRET="), []string{"WORK_CLIENT_ID", "GOOGLE_CLIENT_SECRET"}},
		"an issuer that cannot be":        {several("GOOGLE_OIDC_ISSUER=https://accounts.google.com/"), []string{"GOOGLE_OIDC_ISSUER"}},
		"two kinds of issuer":             {several("WORK_AUTH0_DOMAIN=tenant.eu.auth0.com"), []string{"WORK_OIDC_ISSUER"}},
		"one issuer for two":              {several("GOOGLE_OIDC_ISSUER=https://id.example.com"), []string{"GOOGLE_OIDC_ISSUER"}},
		"one directory for two": {
			several("WORK_OIDC_ISSUER="+common, "WORK_OIDC_TENANTS="+acme, "GOOGLE_OIDC_ISSUER=https://login.microsoftonline.com/"+acme+"/v2.0"),
			[]string{"GOOGLE_OIDC_ISSUER"},
		},
		"many tenants without a list":  {several("WORK_OIDC_ISSUER=" + common), []string{"WORK_OIDC_ISSUER"}},
		"a list without many tenants":  {several("WORK_OIDC_TENANTS=" + acme), []string{"WORK_OIDC_TENANTS"}},
		"a tenant by its domain":       {several("WORK_OIDC_ISSUER="+common, "WORK_OIDC_TENANTS=acme.example"), []string{"WORK_OIDC_TENANTS"}},
		"a fault of a default":         {several("ID_TOKEN_ALG=none", "USERINFO=perhaps"), []string{"USERINFO", "ID_TOKEN_ALG"}},
		"a fault of one":               {several("WORK_ID_TOKEN_ALG=HS256"), []string{"WORK_ID_TOKEN_ALG"}},
		"a default that one overrides": {several("USERINFO=perhaps", "WORK_USERINFO=required"), []string{"USERINFO"}},
		"a domain for two":             {several("WORK_EMAIL_DOMAINS=example.com", "GOOGLE_EMAIL_DOMAINS=example.org,Example.COM"), []string{"GOOGLE_EMAIL_DOMAINS"}},
		"a domain that is an address":  {several("WORK_EMAIL_DOMAINS=ada@example.com"), []string{"WORK_EMAIL_DOMAINS"}},
		"a long label":                 {several("WORK_LABEL=" + strings.Repeat("x", 61)), []string{"WORK_LABEL"}},
		"a misspelt variable":          {several("WORK_CLIENT_SECRT=s"), []string{"WORK_CLIENT_SECRT"}},
		"Auth0's name for it":          {several("WORK_AUTH0_CLIENT_ID=c"), []string{"WORK_AUTH0_CLIENT_ID"}},
		"a line break":                 {several("WORK_CLIENT_SECRET=s\n"), []string{"WORK_CLIENT_SECRET"}},
		"a placeholder":                {several("WORK_CLIENT_ID=YOUR_CLIENT_ID"), []string{"WORK_CLIENT_ID"}},
		"form_post on http":            {several("WORK_RESPONSE_MODE=form_post"), []string{"WORK_RESPONSE_MODE"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := app.LoadConfig(tt.env)
			faults, _ := errors.AsType[openid.Faults](err)
			var got []string
			for _, fault := range faults {
				got = append(got, fault.Field)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("the faults are %q, want those of %q", faults, tt.want)
			}
			if strings.Contains(faults.Error(), "kept-to-") {
				t.Errorf("a fault quotes a secret: %v", faults)
			}
		})
	}
}

// TestCheckConfigOfSeveralProviders prints the values in effect, each under its full name.
func TestCheckConfigOfSeveralProviders(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	env := several("ID_TOKEN_ALG=ES256", "WORK_ID_TOKEN_ALG=RS256", "WORK_LABEL=Work")
	if err := app.Run(t.Context(), []string{"check-config"}, env, &out); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"WORK_OIDC_ISSUER set https://id.example.com", "WORK_ID_TOKEN_ALG set RS256", "GOOGLE_ID_TOKEN_ALG default ES256",
		"GOOGLE_LABEL default Google", "WORK_LABEL set Work", "WORK_CLIENT_SECRET set [hidden]",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "kept-to-") {
		t.Error("a secret is printed")
	}
}

// TestDoctorExaminesEachProvider has one provider that is well and one that is not, and checks what is
// to be registered at each.
func TestDoctorExaminesEachProvider(t *testing.T) {
	t.Parallel()
	ops := map[string]*scriptedop.Provider{"work": apptest.NewOP(t), "odd": apptest.NewOP(t)}
	ops["odd"].Edit(scriptedop.Discovery, func(m map[string]any) { m["issuer"] = "https://other.example" })
	env := append(apptest.EnvOf(ops), "PORT="+apptest.FreePort(t), "DATA_DIR="+t.TempDir())
	var out bytes.Buffer
	if err := app.Run(t.Context(), []string{"doctor", "--json"}, env, &out); err == nil {
		t.Error("doctor finds no fault")
	}
	var report struct {
		Findings []struct{ Check, Provider, Verdict string }
		Register []struct{ Name, Value, Provider string }
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	failed := make(map[string]int)
	for _, finding := range report.Findings {
		if finding.Verdict == "failed" {
			failed[finding.Provider]++
		}
	}
	if failed["odd"] == 0 || failed["work"] > 0 || failed[""] > 0 {
		t.Errorf("the faults are of %v: %s", failed, out.String())
	}
	for _, name := range []string{"work", "odd"} {
		if !slices.ContainsFunc(report.Register, func(r struct{ Name, Value, Provider string }) bool {
			return r.Provider == name && strings.HasSuffix(r.Value, "/callback/"+name)
		}) {
			t.Errorf("the callback of %s is missing in %v", name, report.Register)
		}
	}
}
