package app_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"latchkey/authn/doctor"
	"latchkey/internal/app"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestDoctor checks, for each fault, the line that reports it, that no other line changes,
// and that no secret is shown.
func TestDoctor(t *testing.T) {
	t.Parallel()
	page := scriptedop.Body(http.StatusOK, "text/html", "please sign in")
	for _, tt := range slices.Concat(discoveryCases(), clientCases(), callbackCases(page), signOutCases(page)) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			op := apptest.NewOP(t)
			strict(op)
			if tt.change != nil {
				tt.change(op)
			}
			env := slices.Clone(tt.env)
			for i := range env {
				env[i] = strings.NewReplacer("{issuer}", op.Issuer, "{issuer without slash}", strings.TrimSuffix(op.Issuer, "/")).Replace(env[i])
			}
			d := apptest.Diagnose(t, append(apptest.Env(op), env...)...)
			d.WantProblems(t, tt.problems)
			if tt.about != "" {
				if f := d.Find(t, tt.about); !strings.Contains(f.Found, tt.text[0]) || !strings.Contains(f.Remedy, tt.text[1]) {
					t.Errorf("it says %+v, want %q", f, tt.text)
				}
			}
			for _, secret := range op.Secrets() {
				if strings.Contains(d.Raw, secret) {
					t.Errorf("SL-06: %q is shown:\n%s", secret, d.Raw)
				}
			}
			if d.Find(t, "client").Verdict == doctor.Skipped && op.Calls(scriptedop.Token) > 0 {
				t.Error("the client secret was sent to a provider that is not to be trusted with it")
			}
		})
	}
}

// TestDoctorCertificate distinguishes a provider that is not trusted from one that is not
// there.
func TestDoctorCertificate(t *testing.T) {
	t.Parallel()
	op := scriptedop.New(t, scriptedop.Config{TLS: true, Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}})
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for name, tt := range map[string]struct{ issuer, want string }{
		"an authority that is not trusted": {op.Issuer, "from an authority that this machine does not trust"},
		"plain http under https":           {"https" + strings.TrimPrefix(plain.URL, "http"), "answers without TLS"},
	} {
		d := apptest.Diagnose(t, append(apptest.Env(op), "OIDC_ISSUER="+tt.issuer)...)
		if f := d.Find(t, "discovery"); f.Side != doctor.Network || !strings.Contains(f.Found, tt.want) {
			t.Errorf("%s: it says %+v", name, f)
		}
	}
}

// TestDoctorOfTenants examines a provider whose metadata have a template in place of the issuer, with and
// without OIDC_TENANTS.
func TestDoctorOfTenants(t *testing.T) {
	t.Parallel()
	e := apptest.NewEntra(t)
	strict(e.Provider)
	listed := apptest.Diagnose(t, append(apptest.Env(e.Provider), "OIDC_TENANTS="+apptest.Acme)...)
	if issuer := listed.Find(t, "issuer"); issuer.Verdict != doctor.OK || !strings.Contains(issuer.Found, e.Template) {
		t.Errorf("about the issuer it says %+v", issuer)
	}
	for _, check := range []string{"endpoints", "client", "callback"} {
		if f := listed.Find(t, check); f.Verdict != doctor.OK {
			t.Errorf("about the %s it says %+v", check, f)
		}
	}
	alone := apptest.Diagnose(t, apptest.Env(e.Provider)...)
	if f := alone.Find(t, "issuer"); f.Verdict != doctor.Failed || alone.Find(t, "endpoints").Verdict != doctor.Skipped {
		t.Errorf("without the list, it says %+v", f)
	}
}

// TestDoctorRefusesFaults examines a configuration with which the program does not start:
// nothing else is checked, and the exit status is that of a faulty configuration.
func TestDoctorRefusesFaults(t *testing.T) {
	t.Parallel()
	op := apptest.NewOP(t)
	d := apptest.Diagnose(t, append(apptest.Env(op), "AUTH0_CLIENTID=x", "SESSION_IDLE=soon", "APP_SECRET_KEY=kept-to-ourselves")...)
	if !errors.Is(d.Err, app.ErrConfiguration) || d.OK {
		t.Errorf("ok %t, error %v", d.OK, d.Err)
	}
	var faults []string
	for _, f := range d.Findings {
		if f.Check == "variables" && f.Verdict == doctor.Failed {
			faults = append(faults, f.Found+" -> "+f.Remedy)
		}
	}
	all := strings.Join(faults, "\n")
	if len(faults) != 3 || !strings.Contains(all, "did you mean AUTH0_CLIENT_ID?") || strings.Contains(d.Raw, "kept-to-ourselves") {
		t.Errorf("it says\n%s\n%s", all, d.Raw)
	}
	if op.Calls(scriptedop.Discovery) > 0 || d.Find(t, "provider").Verdict != doctor.Skipped {
		t.Error("the provider was asked")
	}
}

// TestDoctorText checks the lines that people read.
func TestDoctorText(t *testing.T) {
	t.Parallel()
	op := apptest.NewOP(t)
	var out bytes.Buffer
	err := app.Run(context.Background(), []string{"doctor"}, append(apptest.Env(op), "PORT=0", "DATA_DIR="+t.TempDir(), "AUTH0_CLIENT_SECRET=another"), &out)
	if err == nil || errors.Is(err, app.ErrConfiguration) {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{
		"\nok    discovery ", "\nFAIL  client ", "[configuration]\n", " -> copy AUTH0_CLIENT_ID", "\nTo be registered at the provider:\n",
		"\n  redirect_uris              " + apptest.CallbackURL + "\n", "\n  post_logout_redirect_uris  " + apptest.SignedOutURL + "\n", " 1 failed, 0 skipped\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
}

// TestDoctorInterrupted checks that an interrupted examination blames nobody.
func TestDoctorInterrupted(t *testing.T) {
	t.Parallel()
	op := apptest.NewOP(t)
	ctx, cancel := context.WithCancel(t.Context())
	op.Answer(scriptedop.JWKS, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	var out bytes.Buffer
	err := app.Run(ctx, []string{"doctor"}, append(apptest.Env(op), "PORT=0", "DATA_DIR="+t.TempDir()), &out)
	if !errors.Is(err, context.Canceled) || op.Calls(scriptedop.Token) > 0 {
		t.Errorf("error %v, printed\n%s", err, &out)
	}
}

// TestReportProgress checks that a terminal shows the check under way, and a file does not.
func TestReportProgress(t *testing.T) {
	t.Parallel()
	for _, terminal := range []bool{true, false} {
		var out bytes.Buffer
		r := app.NewReport(&out, terminal)
		var meanwhile string
		r.Run(t.Context(), doctor.Check{Name: "key_set", Run: func(context.Context) doctor.Finding {
			meanwhile = out.String()
			return app.Good("two\x1b[31m keys")
		}})
		if got := meanwhile == "...   key set"; got != terminal {
			t.Errorf("terminal %t: meanwhile it says %q", terminal, meanwhile)
		}
		if !strings.HasSuffix(out.String(), "ok    key set                two [31m keys\n") {
			t.Errorf("it says %q", &out)
		}
	}
}
