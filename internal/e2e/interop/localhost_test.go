package interop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
)

// occupy serves what many programs answer to a health check, at one address.
func occupy(t *testing.T, address string) *httptest.Server {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("this machine has no such address: %v", err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"ok"}`+"\n")
	}))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// TestLocalhostIsTwoAddresses (CF-06) opens the app at both addresses of localhost.
func TestLocalhostIsTwoAddresses(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{
		"any port":     nil,
		"a port":       {"PORT=" + apptest.FreePort(t), "DEV_PROVIDER_ADDR=127.0.0.1:0"},
		"by its name":  {"LISTEN_ADDR=localhost"},
		"with metrics": {"OPS_ADDR=localhost:0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := apptest.Start(t, env...)
			addresses := []string{strings.TrimPrefix(a.URL, "http://localhost")}
			if strings.Contains(name, "metrics") {
				addresses = append(addresses, strings.TrimPrefix(a.Operators().App.URL, "http://127.0.0.1"))
			}
			for _, port := range addresses {
				for _, host := range []string{"127.0.0.1", "[::1]"} {
					resp, err := http.Get("http://" + host + port + "/healthz")
					if err != nil {
						t.Error(err)
						continue
					}
					resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						t.Errorf("%s answers %d", host, resp.StatusCode)
					}
				}
			}
		})
	}
}

// TestAnotherServerOnLocalhost (CF-06) starts the app while another server has its port at one address
// of localhost. The app must not start where a browser may show the other server.
func TestAnotherServerOnLocalhost(t *testing.T) {
	t.Parallel()
	const v4, v6 = "127.0.0.1", "[::1]"
	op := apptest.NewOP(t)
	beside := apptest.Env(op)
	for name, tt := range map[string]struct {
		other   string
		env     []string // %s is the port
		refused string   // the variable; "" if it starts
	}{
		"on ::1":                          {v6, []string{"PORT=%s"}, "PORT"},
		"on 127.0.0.1":                    {v4, []string{"PORT=%s"}, "PORT"},
		"on ::1, with a real provider":    {v6, append(beside, "PORT=%s"), "PORT"},
		"on ::1, of the name":             {v6, []string{"PORT=%s", "LISTEN_ADDR=localhost"}, "PORT"},
		"on ::1, of another address":      {v6, []string{"PORT=%s", "LISTEN_ADDR=127.0.0.1"}, "PORT"},
		"on 127.0.0.1, of ::1":            {v4, []string{"PORT=%s", "LISTEN_ADDR=::1"}, "PORT"},
		"on ::1, of the operators":        {v6, append(beside, "PORT=0", "OPS_ADDR=localhost:%s"), "OPS_ADDR"},
		"on ::1, of the provider":         {v6, []string{"PORT=0", "DEV_PROVIDER_ADDR=localhost:%s"}, "DEV_PROVIDER_ADDR"},
		"on ::1, and the address is IPv4": {v6, []string{"PORT=%s", "AUTH0_CALLBACK_URL=http://127.0.0.1:%s/callback"}, ""},
		"on 127.0.0.1, and it is IPv6":    {v4, []string{"PORT=%s", "AUTH0_CALLBACK_URL=http://[::1]:%s/callback"}, ""},
		"on ::1, behind a proxy":          {v6, append(beside, "PORT=%s", "LISTEN_ADDR=127.0.0.1", "AUTH0_CALLBACK_URL="+public+"/callback", "APP_SECRET_KEY="+secretKey), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := apptest.FreePort(t)
			occupy(t, tt.other+":"+port)
			env := []string{"DEV_PROVIDER_ADDR=127.0.0.1:0"}
			for _, variable := range tt.env {
				env = append(env, strings.ReplaceAll(variable, "%s", port))
			}
			if tt.refused == "" {
				apptest.Start(t, env...)
				return
			}
			ctx, stop := context.WithTimeout(t.Context(), apptest.Patience)
			defer stop()
			err := app.Run(ctx, nil, append(env, "DATA_DIR="+t.TempDir()), io.Discard)
			if !errors.Is(err, app.ErrConfiguration) || !strings.Contains(err.Error(), tt.refused+": another program already listens on "+tt.other+":"+port) {
				t.Errorf("it ends with %v", err)
			}
			if f := apptest.Diagnose(t, env...).Find(t, "port"); !strings.Contains(f.Found, "another program has "+tt.other+":"+port) {
				t.Errorf("the doctor says %+v", f)
			}
		})
	}
}

// TestPortIsReleased starts the app while the process before it still has the port at one address.
func TestPortIsReleased(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		port := apptest.FreePort(t)
		before := occupy(t, host+":"+port)
		released := time.AfterFunc(300*time.Millisecond, before.Close)
		t.Cleanup(func() { released.Stop() })
		if got := apptest.Start(t, "PORT="+port, "DEV_PROVIDER_ADDR=127.0.0.1:0").Visitor().Get("/"); got.StatusCode != http.StatusOK {
			t.Errorf("after %s was released, the app answers %d", host, got.StatusCode)
		}
	}
}

// TestHealthRecognizesTheApp asks with `latchkey health` where another program answers that it is
// healthy, too.
func TestHealthRecognizesTheApp(t *testing.T) {
	t.Parallel()
	op := apptest.NewOP(t)
	const v4, v6 = "127.0.0.1:", "[::1]:"
	start := func(env ...string) func(t *testing.T, port string) {
		return func(t *testing.T, port string) { apptest.StartBeside(t, op, append(env, "PORT="+port)...) }
	}
	for name, tt := range map[string]struct {
		answers func(t *testing.T, port string)
		env     []string
		want    string // a part of the error; "" if the app is healthy
	}{
		"another program on 127.0.0.1":  {func(t *testing.T, port string) { occupy(t, v4+port) }, nil, "another program answers at 127.0.0.1:"},
		"another program on ::1":        {func(t *testing.T, port string) { occupy(t, v6+port) }, nil, "nothing answers at 127.0.0.1:"},
		"another program, asked on ::1": {func(t *testing.T, port string) { occupy(t, v6+port) }, []string{"LISTEN_ADDR=::1"}, "another program answers at [::1]:"},
		"an app of another address": {
			start("LISTEN_ADDR=127.0.0.1", "AUTH0_CALLBACK_URL="+public+"/callback", "APP_SECRET_KEY="+secretKey), nil, "another program answers",
		},
		"the app":                   {start(), nil, ""},
		"the app on all interfaces": {start("LISTEN_ADDR=0.0.0.0"), []string{"LISTEN_ADDR=0.0.0.0"}, ""},
		"the app on ::1":            {start("AUTH0_CALLBACK_URL="), []string{"LISTEN_ADDR=::1"}, ""},
		"the app beside another program on ::1": {func(t *testing.T, port string) {
			occupy(t, v6+port)
			start("AUTH0_CALLBACK_URL=http://127.0.0.1:"+port+"/callback")(t, port)
		}, []string{"AUTH0_CALLBACK_URL=http://127.0.0.1:%s/callback"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := apptest.FreePort(t)
			own := append(apptest.Env(op), "PORT="+port)
			for _, variable := range tt.env {
				own = append(own, strings.ReplaceAll(variable, "%s", port))
			}
			tt.answers(t, port)
			var out bytes.Buffer
			err := app.Run(t.Context(), []string{"health"}, own, &out)
			if tt.want == "" {
				if err != nil || out.String() != `{"status":"ok"}`+"\n" {
					t.Errorf("error %v, printed %q", err, &out)
				}
				return
			}
			if err == nil || errors.Is(err, app.ErrConfiguration) || !strings.Contains(err.Error(), tt.want) || out.Len() > 0 {
				t.Errorf("error %v, printed %q", err, &out)
			}
		})
	}
}
