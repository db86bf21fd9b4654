package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// diagnosis is what the doctor says of a set-up.
type diagnosis struct {
	OK       bool
	Findings []finding
	Register []authn.Registration

	err error
	raw string
}

// diagnose runs the doctor with a port and a data directory of its own.
func diagnose(t *testing.T, env ...string) *diagnosis {
	t.Helper()
	var out bytes.Buffer
	d := new(diagnosis)
	d.err = Run(t.Context(), []string{"doctor", "--json"}, append([]string{"PORT=0", "DATA_DIR=" + t.TempDir()}, env...), &out)
	d.raw = out.String()
	if err := json.Unmarshal(out.Bytes(), d); err != nil {
		t.Fatalf("%v\n%s\n%v", err, d.raw, d.err)
	}
	return d
}

// find returns the finding of a check.
func (d *diagnosis) find(t *testing.T, check string) finding {
	t.Helper()
	i := slices.IndexFunc(d.Findings, func(f finding) bool { return f.Check == check })
	if i < 0 {
		t.Fatalf("there is no finding %q:\n%s", check, d.raw)
	}
	return d.Findings[i]
}

// amiss maps each check that is not ok to its verdict, and where something is wrong, whose
// matter that is.
func (d *diagnosis) amiss() map[string]string {
	list := make(map[string]string)
	for _, f := range d.Findings {
		if f.Verdict != authn.VerdictOK {
			list[f.Check] = strings.TrimSpace(string(f.Verdict) + " " + string(f.Side))
		}
	}
	return list
}

// wantAmiss checks what is not ok, that the exit code and the JSON say so too, and that
// whatever is wrong has a remedy.
func (d *diagnosis) wantAmiss(t *testing.T, want map[string]string) {
	t.Helper()
	if got := d.amiss(); !maps.Equal(got, want) {
		t.Errorf("not ok are %v, want %v:\n%s", got, want, d.raw)
	}
	failed := slices.ContainsFunc(slices.Collect(maps.Values(want)), func(v string) bool { return strings.HasPrefix(v, "failed") })
	if d.OK == failed || (d.err != nil) != failed || errors.Is(d.err, ErrConfiguration) {
		t.Errorf("ok %t, error %v", d.OK, d.err)
	}
	for _, f := range d.Findings {
		wrong := f.Verdict == authn.VerdictFailed || f.Verdict == authn.VerdictWarning
		if f.Found == "" || (f.Remedy != "") != wrong || (f.Side != "") != wrong {
			t.Errorf("half a finding: %+v", f)
		}
	}
}

// TestDoctor shows for each fault the line that it gets, that no other line changes, and
// that nothing secret is shown.
func TestDoctor(t *testing.T) {
	t.Parallel()
	page := scriptedop.Body(http.StatusOK, "text/html", "please sign in")
	for _, tt := range slices.Concat(discoveryCases(), clientCases(), callbackCases(page), signOutCases(page)) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			op := newScriptedOP(t)
			strict(op)
			if tt.change != nil {
				tt.change(op)
			}
			env := slices.Clone(tt.env)
			for i := range env {
				env[i] = strings.NewReplacer("{issuer}", op.Issuer, "{issuer without slash}", strings.TrimSuffix(op.Issuer, "/")).Replace(env[i])
			}
			d := diagnose(t, append(knows(op), env...)...)
			d.wantAmiss(t, tt.amiss)
			if tt.about != "" {
				if f := d.find(t, tt.about); !strings.Contains(f.Found, tt.text[0]) || !strings.Contains(f.Remedy, tt.text[1]) {
					t.Errorf("it says %+v, want %q", f, tt.text)
				}
			}
			for _, secret := range op.Secrets() {
				if strings.Contains(d.raw, secret) {
					t.Errorf("SL-06: %q is shown:\n%s", secret, d.raw)
				}
			}
			if d.find(t, "client").Verdict == authn.VerdictSkipped && op.Calls(scriptedop.Token) > 0 {
				t.Error("the client secret was sent to a provider that is not to be trusted with it")
			}
		})
	}
}

// TestDoctorCertificate shows that a provider that is not to be trusted is told apart from
// one that is not there.
func TestDoctorCertificate(t *testing.T) {
	t.Parallel()
	op := scriptedop.New(t, scriptedop.Config{TLS: true, Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}})
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for name, tt := range map[string]struct{ issuer, want string }{
		"an authority that is not trusted": {op.Issuer, "of an authority that this machine does not trust"},
		"plain http under https":           {"https" + strings.TrimPrefix(plain.URL, "http"), "answers without TLS"},
	} {
		d := diagnose(t, append(knows(op), "OIDC_ISSUER="+tt.issuer)...)
		if f := d.find(t, "discovery"); f.Side != authn.SideNetwork || !strings.Contains(f.Found, tt.want) {
			t.Errorf("%s: it says %+v", name, f)
		}
	}
}

// TestDoctorRefusesFaults shows that a configuration with which the program does not start
// is examined no further, and has the exit code of one.
func TestDoctorRefusesFaults(t *testing.T) {
	t.Parallel()
	op := newScriptedOP(t)
	d := diagnose(t, append(knows(op), "AUTH0_CLIENTID=x", "SESSION_IDLE=soon", "APP_SECRET_KEY=kept-to-ourselves")...)
	if !errors.Is(d.err, ErrConfiguration) || d.OK {
		t.Errorf("ok %t, error %v", d.OK, d.err)
	}
	var faults []string
	for _, f := range d.Findings {
		if f.Check == "variables" && f.Verdict == authn.VerdictFailed {
			faults = append(faults, f.Found+" -> "+f.Remedy)
		}
	}
	all := strings.Join(faults, "\n")
	if len(faults) != 3 || !strings.Contains(all, "is AUTH0_CLIENT_ID meant?") || strings.Contains(d.raw, "kept-to-ourselves") {
		t.Errorf("it says\n%s\n%s", all, d.raw)
	}
	if op.Calls(scriptedop.Discovery) > 0 || d.find(t, "provider").Verdict != authn.VerdictSkipped {
		t.Error("the provider was asked")
	}
}

// TestDoctorText shows the lines that people read.
func TestDoctorText(t *testing.T) {
	t.Parallel()
	op := newScriptedOP(t)
	var out bytes.Buffer
	err := Run(context.Background(), []string{"doctor"}, append(knows(op), "PORT=0", "DATA_DIR="+t.TempDir(), "AUTH0_CLIENT_SECRET=another"), &out)
	if err == nil || errors.Is(err, ErrConfiguration) {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{
		"\nok    discovery ", "\nFAIL  client ", "[configuration]\n", " -> copy AUTH0_CLIENT_ID", "\nTo be registered at the provider:\n",
		"\n  redirect_uris              " + ownCallback + "\n", "\n  post_logout_redirect_uris  " + ownSignedOut + "\n", " 1 failed, 0 skipped\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
}

// TestDoctorInterrupted shows that a doctor who is sent away blames nobody.
func TestDoctorInterrupted(t *testing.T) {
	t.Parallel()
	op := newScriptedOP(t)
	ctx, cancel := context.WithCancel(t.Context())
	op.Answer(scriptedop.JWKS, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	var out bytes.Buffer
	err := Run(ctx, []string{"doctor"}, append(knows(op), "PORT=0", "DATA_DIR="+t.TempDir()), &out)
	if !errors.Is(err, context.Canceled) || op.Calls(scriptedop.Token) > 0 {
		t.Errorf("error %v, printed\n%s", err, &out)
	}
}

// TestReportProgress shows that a person at a terminal sees what is waited for, and that a
// file does not.
func TestReportProgress(t *testing.T) {
	t.Parallel()
	for _, terminal := range []bool{true, false} {
		var out bytes.Buffer
		r := &report{out: &out, terminal: terminal}
		var meanwhile string
		r.run(t.Context(), authn.Question{Name: "key_set", Run: func(context.Context) authn.Finding {
			meanwhile = out.String()
			return good("two\x1b[31m keys")
		}})
		if got := meanwhile == "...   key set"; got != terminal {
			t.Errorf("terminal %t: meanwhile it says %q", terminal, meanwhile)
		}
		if !strings.HasSuffix(out.String(), "ok    key set                two [31m keys\n") {
			t.Errorf("it says %q", &out)
		}
	}
}
