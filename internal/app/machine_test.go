package app_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"latchkey/authn/doctor"
	"latchkey/internal/apptest"
)

// TestDoctorDevelopmentProvider examines a fresh clone, before its first start and while
// the app runs, and changes nothing.
func TestDoctorDevelopmentProvider(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := apptest.Diagnose(t, "DATA_DIR="+dir)
	d.WantProblems(t, nil)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the data directory holds %v, error %v", entries, err)
	}
	if !strings.Contains(d.Find(t, "provider").Found, "development provider") || len(d.Register) > 0 {
		t.Errorf("it says\n%s", d.Raw)
	}

	a := apptest.Start(t)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(a.Issuer, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	d = apptest.Diagnose(t, "DATA_DIR="+a.DataDir, "PORT="+base.Port(), "DEV_PROVIDER_ADDR=127.0.0.1:"+port)
	d.WantProblems(t, nil)
	if !strings.Contains(d.Find(t, "store").Found, "in use") || !strings.Contains(d.Find(t, "secret_key").Found, "kept in") {
		t.Errorf("it says\n%s", d.Raw)
	}
	if f := apptest.Diagnose(t, "DEV_PROVIDER_ADDR=127.0.0.1:"+base.Port()).Find(t, "port"); f.Verdict != doctor.Failed || !strings.Contains(f.Remedy, "DEV_PROVIDER_ADDR") {
		t.Errorf("of the provider's port, which another program has, it says %+v", f)
	}
}

// TestDoctorMutualTLS examines the development provider with a client certificate, which expires soon.
func TestDoctorMutualTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile := apptest.WriteCertificate(t)
	certificate := []string{"PROFILE=fapi2", "CLIENT_TLS_CERT_FILE=" + certFile, "CLIENT_TLS_KEY_FILE=" + keyFile}
	for _, env := range []string{
		"CLIENT_AUTH=self_signed_tls_client_auth", "CLIENT_AUTH=tls_client_auth",
		"CLIENT_SIGNING_KEY=" + apptest.WritePKCS8(t, apptest.NewKey(t, "P-256")),
	} {
		apptest.Diagnose(t, append(certificate, env)...).WantProblems(t, map[string]string{"client_certificate": "warning configuration"})
	}
}

// TestDoctorOnThisMachine checks the findings about the port, the certificate, proxies, the
// stored key and the store.
func TestDoctorOnThisMachine(t *testing.T) {
	t.Parallel()
	op := apptest.NewOP(t)
	taken := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(taken.Close)
	_, takenPort, _ := strings.Cut(strings.TrimPrefix(taken.URL, "http://"), ":")
	certFile, keyFile := apptest.WriteCertificate(t)
	_, otherKey := apptest.WriteCertificate(t)
	public := []string{"AUTH0_CALLBACK_URL=https://app.example.com/callback", "APP_SECRET_KEY=0123456789abcdef0123456789abcdef"}
	own := []string{"AUTH0_CALLBACK_URL=https://localhost:3000/callback", "TLS_CERT_FILE=" + certFile, "TLS_KEY_FILE=" + keyFile}
	badKey, open := t.TempDir(), t.TempDir()
	if err := os.WriteFile(badKey+"/app-secret-key", []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		env         []string
		check, want string // the verdict, the side and a word of what is found
	}{
		"a port that is free": {[]string{"PORT=" + apptest.FreePort(t), "DEV_PROVIDER_ADDR=127.0.0.1:0"}, "port", "ok: is free"},
		"a second port taken": {[]string{"PORT=0", "OPS_ADDR=127.0.0.1:" + takenPort}, "port", "failed machine: another program"},
		"a third port taken": {
			append(own[1:3:3], "PORT=0", "AUTH0_CALLBACK_URL=https://localhost:3000/callback", "AUTH0_AUDIENCE=https://api.example", "MTLS_ADDR=127.0.0.1:"+takenPort),
			"port", "failed machine: another program",
		},
		"a port that is taken":     {[]string{"PORT=" + takenPort, "LISTEN_ADDR=127.0.0.1"}, "port", "failed machine: another program"},
		"an address of another":    {[]string{"PORT=3000", "LISTEN_ADDR=192.0.2.1"}, "port", "failed configuration: cannot listen"},
		"loopback":                 {nil, "https", "ok: plain http"},
		"a proxy for https":        {public, "https", "ok: a proxy"},
		"a certificate that ends":  {own, "https", "warning configuration: expires on"},
		"a certificate of another": {append(own[1:3:3], public...), "https", "failed configuration: not for app.example.com"},
		"a key of another":         {append(own[:2:2], "TLS_KEY_FILE="+otherKey), "variables", "failed configuration: TLS_"},
		"no proxy on loopback":     {nil, "proxies", "ok: none is needed"},
		"a proxy without a name":   {public, "proxies", "warning configuration: every client seems to come"},
		"a proxy with a name":      {append(public[:2:2], "TRUSTED_PROXIES=10.0.0.0/8"), "proxies", "ok: 10.0.0.0/8"},
		"everyone a proxy":         {append(public[:2:2], "TRUSTED_PROXIES=0.0.0.0/0"), "proxies", "warning configuration: trusts every address"},
		"cookies on loopback":      {nil, "cookies", "ok: without Secure"},
		"cookies in public":        {public, "cookies", "ok: __Host-, Secure, HttpOnly"},
		"cookies and form_post":    {append(public[:2:2], "RESPONSE_MODE=form_post"), "cookies", "ok: SameSite=None"},
		"cookies and a JWT":        {append(public[:2:2], "RESPONSE_MODE=form_post.jwt"), "cookies", "ok: SameSite=None"},
		"a configured key":         {public, "secret_key", "ok: APP_SECRET_KEY"},
		"a kept key that is none":  {[]string{"DATA_DIR=" + badKey}, "secret_key", "failed machine: holds no key"},
		"no store yet":             {nil, "store", "ok: can be created"},
		"a store in memory":        {[]string{"SESSION_STORE=memory"}, "store", "ok: signed out when the app stops"},
		"CF-12 a store for all":    {[]string{"DATA_DIR=" + open}, "store", "failed machine: others can write"},
		"no Redis":                 {[]string{"SESSION_STORE=redis://:secret-of-redis@localhost:1"}, "store", "failed network: cannot be written to"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := apptest.Diagnose(t, append(apptest.Env(op), tt.env...)...)
			f := d.Find(t, tt.check)
			state, word, _ := strings.Cut(tt.want, ": ")
			if strings.TrimSpace(string(f.Verdict)+" "+string(f.Side)) != state || !strings.Contains(f.Found, word) {
				t.Errorf("it says %+v, want %q", f, tt.want)
			}
			if wrong := f.Verdict != doctor.OK; wrong != (f.Remedy != "") {
				t.Errorf("the remedy is %q", f.Remedy)
			}
			if strings.Contains(d.Raw, "secret-of-redis") {
				t.Errorf("SL-06: a secret is shown:\n%s", d.Raw)
			}
		})
	}
}

// TestDoctorBesideRedis examines a Redis server that accepts the app, and one that does
// not.
func TestDoctorBesideRedis(t *testing.T) {
	t.Parallel()
	address := apptest.StartRedis(t).URL
	op := apptest.NewOP(t)
	for name, tt := range map[string]struct{ url, want string }{
		"a server":           {address, "ok: answers, and can be written to"},
		"a user it does not": {strings.Replace(address, "unix://", "unix://nobody:secret-of-redis@", 1), "failed configuration: refuses the app"},
	} {
		d := apptest.Diagnose(t, append(apptest.Env(op), "SESSION_STORE="+tt.url)...)
		f := d.Find(t, "store")
		if state, word, _ := strings.Cut(tt.want, ": "); strings.TrimSpace(string(f.Verdict)+" "+string(f.Side)) != state || !strings.Contains(f.Found, word) {
			t.Errorf("%s: it says %+v", name, f)
		}
		if strings.Contains(d.Raw, "secret-of-redis") {
			t.Errorf("SL-06: %s: a secret is shown:\n%s", name, d.Raw)
		}
	}
}
