package project

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
)

// surroundings is what the examples in README.md take for granted.
const surroundings = `package routes

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/labstack/echo-contrib/session"
	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/authn/storetest"
	"latchkey/views"
)

var (
	_ = http.StatusOK
	_ = slices.Clone[[]int]
	_ *testing.T
	_ time.Duration
	_ = session.Get
	_ authn.Key
	_ = storetest.Run
	_ views.Shell
)

func (a *App) about(echo.Context) error         { return nil }
func (a *App) audit(echo.Context) error         { return nil }
func (a *App) reports(echo.Context) error       { return nil }
func (a *App) deleteAccount(echo.Context) error { return nil }
`

// notesViews is what templ would generate from the components in README.md, as far as Go
// code can see.
const notesViews = `package views

import "github.com/a-h/templ"

type NotesProps struct{ Name string }

func Notes(Shell, NotesProps) templ.Component { return nil }
func NotesCard(NotesProps) templ.Component    { return nil }
`

// TestReadmeExamples compiles the Go examples in README.md: functions in package routes,
// and all else in a function there. internal/e2e/login/ownpages_test.go has the example of
// a test.
func TestReadmeExamples(t *testing.T) {
	t.Parallel()
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(string(apptest.ReadFile(t, "README.md")), -1)
	if len(blocks) < 8 {
		t.Fatalf("README.md has %d blocks of Go", len(blocks))
	}
	var source strings.Builder
	source.WriteString(surroundings)
	assigned := regexp.MustCompile(`(?m)^(\w+)(?:, \w+)? := `)
	ownPages := strings.ReplaceAll(string(apptest.ReadFile(t, "internal/e2e/login/ownpages_test.go")), "\n\t", "\n")
	for i, block := range blocks {
		if strings.Contains(ownPages, block[1]) {
			continue
		}
		if strings.HasPrefix(block[1], "func ") {
			source.WriteString("\n" + block[1])
			continue
		}
		fmt.Fprintf(&source, "\nfunc (a *App) example%d(e *echo.Echo, c echo.Context, visitor, person []echo.MiddlewareFunc) error {\n", i)
		source.WriteString(block[1])
		for _, name := range assigned.FindAllStringSubmatch(block[1], -1) {
			source.WriteString("\t_ = " + name[1] + "\n")
		}
		source.WriteString("\treturn nil\n}\n")
	}
	dir := t.TempDir()
	replaced := map[string]string{"routes/readme.go": source.String(), "views/readme.go": notesViews}
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	for name, text := range replaced {
		file := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(apptest.Root(t), name)] = file
	}
	raw, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := in(t, apptest.Root(t), "go", "build", "-overlay", file, "./routes"); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestReadmeGreeting checks that README.md shows the greeting that a terminal shows.
func TestReadmeGreeting(t *testing.T) {
	t.Parallel()
	log := apptest.NewLog()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, nil, []string{"PORT=0", "LOG_FORMAT=text", "DATA_DIR=" + t.TempDir()}, log)
	}()
	apptest.Eventually(t, "the start", func() bool { return log.Count("Ctrl-C.\n") > 0 })
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	_, greeting, _ := strings.Cut(log.String(), "\n  Latchkey is at ")
	greeting, _, _ = strings.Cut("\n  Latchkey is at "+greeting, "Ctrl-C.\n")
	greeting = regexp.MustCompile(`localhost:\d+`).ReplaceAllString(greeting, "localhost:3000")
	greeting = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(greeting, "127.0.0.1:3001")
	if !strings.Contains(string(apptest.ReadFile(t, "README.md")), greeting) {
		t.Errorf("README.md does not show:\n%s", greeting)
	}
}
