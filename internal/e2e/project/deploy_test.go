package project

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
)

// composeFile is deploy/compose.yaml as far as the tests read it.
type composeFile struct {
	Services map[string]struct {
		Image               string
		Command, Entrypoint any
		Environment         map[string]string
		Healthcheck         struct{ Test any }
		Ulimits             map[string]int
	}
	Configs  map[string]struct{ Content string }
	Networks map[string]struct {
		IPAM struct{ Config []struct{ Subnet string } }
	}
}

// filledIn has the values of the variables in deploy/compose.yaml.
var filledIn = strings.NewReplacer("${APP_HOST:?}", "app.example.com", "${VALKEY_PASSWORD:?}", "p")

func readCompose(t *testing.T) (text []byte, parsed composeFile) {
	t.Helper()
	text = apptest.ReadFile(t, "deploy/compose.yaml")
	if err := yaml.Unmarshal(text, &parsed); err != nil {
		t.Fatalf("deploy/compose.yaml: %v", err)
	}
	return text, parsed
}

// TestDeployedConfiguration checks that the program accepts the configuration in deploy/,
// with the secrets filled in.
func TestDeployedConfiguration(t *testing.T) {
	t.Parallel()
	text, compose := readCompose(t)
	env := []string{"AUTH0_DOMAIN=tenant.eu.auth0.com", "AUTH0_CLIENT_ID=c", "AUTH0_CLIENT_SECRET=s", "APP_SECRET_KEY=0123456789abcdef0123456789abcdef"}
	for variable, value := range compose.Services["node-2"].Environment {
		env = append(env, variable+"="+filledIn.Replace(value))
	}
	cfg, err := app.LoadConfig(env)
	if err != nil {
		t.Fatal(err)
	}
	if subnet := compose.Networks["inside"].IPAM.Config[0].Subnet; !strings.Contains(string(cfg.SessionStore), "://") || !slices.Equal(cfg.TrustedProxies, []string{subnet}) {
		t.Errorf("no shared store, or the proxies are not those of the network: %v", cfg.TrustedProxies)
	}
	example := string(apptest.ReadFile(t, "deploy/env.example"))
	for _, needed := range regexp.MustCompile(`\$\{([A-Z_]+):\?\}`).FindAllSubmatch(text, -1) {
		if !strings.Contains(example, "\n"+string(needed[1])+"=") {
			t.Errorf("deploy/env.example lacks %s", needed[1])
		}
	}
}

// TestDeployedSecretsStayInside (SL-08) checks what deploy/ shows to other users of the machine:
// the command lines of its processes and their core dumps. It also checks that what runs
// is what was examined: an image is built here or has a digest.
func TestDeployedSecretsStayInside(t *testing.T) {
	t.Parallel()
	_, compose := readCompose(t)
	for name, service := range compose.Services {
		for _, line := range []any{service.Command, service.Entrypoint, service.Healthcheck.Test} {
			if strings.Contains(fmt.Sprint(line), "$") {
				t.Errorf("%s has a value that is filled in on a command line: %v", name, line)
			}
		}
		if core, ok := service.Ulimits["core"]; !ok || core != 0 {
			t.Errorf("%s may dump core", name)
		}
		if service.Image != "latchkey" && !regexp.MustCompile(`@\$\{[A-Z]+_DIGEST:\?\}$`).MatchString(service.Image) {
			t.Errorf("the image %s has no digest", service.Image)
		}
	}
	if unit := string(apptest.ReadFile(t, "deploy/latchkey.service")); !strings.Contains(unit, "\nLimitCORE=0\n") {
		t.Error("the service may dump core")
	}
}

// TestDeployedStoreAsksForItsPassword starts a server with the configuration that
// deploy/compose.yaml writes for it.
func TestDeployedStoreAsksForItsPassword(t *testing.T) {
	t.Parallel()
	_, compose := readCompose(t)
	dir := apptest.RedisDir(t)
	file := filepath.Join(dir, "valkey.conf")
	if err := os.WriteFile(file, []byte(filledIn.Replace(compose.Configs["valkey"].Content)), 0o600); err != nil {
		t.Fatal(err)
	}
	apptest.StartRedisIn(t, dir, file)
	conn, err := net.Dial("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	replies := bufio.NewReader(conn)
	for _, c := range []struct{ command, want string }{
		{"PING", "-NOAUTH"},
		{"AUTH wrong", "-WRONGPASS"},
		{"AUTH p", "+OK"},
		{"PING", "+PONG"},
	} {
		fmt.Fprintf(conn, "%s\r\n", c.command)
		if reply, err := replies.ReadString('\n'); err != nil || !strings.HasPrefix(reply, c.want) {
			t.Errorf("%s is answered with %q, %v", c.command, reply, err)
		}
	}
}
