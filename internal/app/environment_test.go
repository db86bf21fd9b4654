package app_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn/doctor"
	"latchkey/authn/openid"
	"latchkey/internal/app"
	"latchkey/internal/apptest"
)

// TestLoadConfigLeavesTheEnvironment loads different configurations at the same time, each with
// a value that cannot be read: none sees another's, and the process's environment stays.
func TestLoadConfigLeavesTheEnvironment(t *testing.T) {
	t.Setenv("PORT", "9999")
	t.Setenv("AUTH0_CLIENT_ID", "of the process")
	before := os.Environ()
	var loads sync.WaitGroup
	for port := range 100 {
		loads.Go(func() {
			env := tenant("PORT="+strconv.Itoa(4000+port), "AUTH0_CLIENT_ID=client-"+strconv.Itoa(port))
			cfg, err := app.LoadConfig(env)
			if err != nil || cfg.Port != 4000+port || cfg.ClientID != "client-"+strconv.Itoa(port) || cfg.ShutdownGrace != nil {
				t.Errorf("port %d: %+v, error %v", port, cfg, err)
			}
			if _, err := app.LoadConfig(append(env, "SESSION_LIMIT="+strconv.Itoa(port)+"x")); err == nil || !strings.Contains(err.Error(), strconv.Itoa(port)+"x") {
				t.Errorf("port %d: error %v of a limit that is not a number", port, err)
			}
			if os.Getenv("PORT") != "9999" {
				t.Error("meanwhile the process's environment is another")
			}
		})
	}
	loads.Wait()
	if after := os.Environ(); !slices.Equal(after, before) {
		t.Errorf("the environment was\n%v\nand is\n%v", before, after)
	}
}

// TestValues reads values of each kind.
func TestValues(t *testing.T) {
	t.Parallel()
	cfg, err := app.LoadConfig(tenant("TRUSTED_PROXIES= 10.0.0.0/8 , ::1/128", "SHUTDOWN_GRACE=3s", "LOG_LEVEL=Warn", "SESSION_IDLE=90m", "DATA_DIR=a,b"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cfg.TrustedProxies, []string{"10.0.0.0/8", "::1/128"}) || *cfg.ShutdownGrace != 3*time.Second || cfg.LogLevel.String() != "WARN" ||
		cfg.Idle != 90*time.Minute || cfg.Absolute != 168*time.Hour || cfg.DataDir != "a,b" || cfg.PictureOrigins != nil {
		t.Errorf("it reads %+v", cfg)
	}
}

// TestFaultsAreTyped checks that a report takes problem and remedy from the fault, whatever the
// values contain.
func TestFaultsAreTyped(t *testing.T) {
	t.Parallel()
	const strange = "no; such\nfile: at; all"
	env := tenant("AUTH0_CALLBACK_URL=https://localhost:3000/callback", "AUTH0_SCOPES=a; b\nc", "SESSION_IDLE=1h; or\n2h",
		"TLS_CERT_FILE="+strange, "TLS_KEY_FILE="+strange)
	_, err := app.LoadConfig(env)
	faults, ok := errors.AsType[openid.Faults](err)
	if !ok || len(faults) != 3 {
		t.Fatalf("the error is %T: %v", err, err)
	}
	var found []apptest.Finding
	for _, f := range apptest.Diagnose(t, env...).Findings {
		if f.Check == "variables" {
			found = append(found, f)
		}
	}
	if len(found) != len(faults) {
		t.Fatalf("%d findings for %d faults: %+v", len(found), len(faults), found)
	}
	oneLine := strings.NewReplacer("\n", " ")
	for i, f := range faults {
		if f.Problem == "" || f.Remedy == "" {
			t.Errorf("half a fault: %+v", f)
		}
		if found[i].Found != f.Field+": "+oneLine.Replace(f.Problem) || found[i].Remedy != f.Remedy {
			t.Errorf("of %+v the report says %+v", f, found[i])
		}
	}
}

// TestStoreFaultIsTyped does so for a session file, whose path may contain anything.
func TestStoreFaultIsTyped(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a: b; c")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "sessions.db"), []byte("something else"), 0o600)); err != nil {
		t.Fatal(err)
	}
	f := apptest.Diagnose(t, "DATA_DIR="+dir).Find(t, "store")
	if f.Verdict != doctor.Failed || !strings.HasPrefix(f.Found, filepath.Join(dir, "sessions.db")+" is damaged") || !strings.HasPrefix(f.Remedy, "move it away") {
		t.Errorf("it says %+v", f)
	}
}
