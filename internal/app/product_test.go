package app_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/app"
	"latchkey/internal/apptest"
	"latchkey/routes"
)

// notesConfig is the configuration of a product.
type notesConfig struct {
	Database openid.Secret `env:"NOTES_DATABASE" desc:"where the notes are"`
	Limit    int           `env:"NOTES_LIMIT, default=10" desc:"how many notes a person may have"`
	Shared   bool          `env:"NOTES_SHARED" desc:"whether others see them"`
}

// validate is the product's own check.
func (c *notesConfig) validate(f *openid.Faults) {
	if c.Limit > 100 {
		f.Add("NOTES_LIMIT", "is more than 100", "write less")
	}
}

func notes() (app.Program, *notesConfig) {
	cfg := new(notesConfig)
	return app.Program{Product: routes.Product{Config: cfg, Validate: cfg.validate}}, cfg
}

// TestProductVariables treats a product's variables as the app's own: in the help text, in
// check-config, and where they are wrong.
func TestProductVariables(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args, env []string
		want      []string // in what is printed, or in the error
		refused   bool
	}{
		"help":         {args: []string{"help"}, want: []string{"NOTES_LIMIT ", "how many notes a person may have (default 10)", "where the notes are"}},
		"check-config": {args: []string{"check-config"}, env: []string{"NOTES_DATABASE=postgres://user:hunter2@host/db", "NOTES_SHARED=true"}, want: []string{"[hidden]", "true"}},
		"a word for a number": {
			args: []string{"check-config"}, env: []string{"NOTES_LIMIT=many"}, refused: true,
			want: []string{`NOTES_LIMIT: is "many"; write a number`},
		},
		"a word for a choice": {
			args: []string{"check-config"}, env: []string{"NOTES_SHARED=perhaps"}, refused: true,
			want: []string{`NOTES_SHARED: is "perhaps"; write true or false`},
		},
		"a quoted value": {args: []string{"check-config"}, env: []string{`NOTES_DATABASE="x"`}, refused: true, want: []string{"NOTES_DATABASE: is in quotation marks"}},
		"a misspelling":  {args: []string{"check-config"}, env: []string{"NOTES_LIMITS=3"}, refused: true, want: []string{"did you mean NOTES_LIMIT?"}},
		"the product's own rule, beside a fault of the app": {
			args: []string{"check-config"}, env: []string{"NOTES_LIMIT=200", "PORT=x"}, refused: true,
			want: []string{"NOTES_LIMIT: is more than 100; write less", "PORT: is"},
		},
		"the doctor": {args: []string{"doctor"}, env: []string{"NOTES_LIMIT=200"}, refused: true, want: []string{"1 of 3 checks failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program, _ := notes()
			var out bytes.Buffer
			err := program.Run(t.Context(), tt.args, tt.env, &out)
			got := out.String()
			if tt.refused {
				if !errors.Is(err, app.ErrConfiguration) {
					t.Fatalf("error %v", err)
				}
				got = err.Error()
			} else if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("it does not say %q:\n%s", want, got)
				}
			}
			if strings.Contains(out.String(), "user:hunter2") {
				t.Errorf("it shows a secret:\n%s", &out)
			}
		})
	}

	program, cfg := notes()
	if _, err := program.LoadConfig([]string{"NOTES_DATABASE=there"}); err != nil || cfg.Database != "there" || cfg.Limit != 10 {
		t.Errorf("it reads %q and %d, error %v", string(cfg.Database), cfg.Limit, err)
	}
	if last := program.Variables(); !last[len(last)-1].OfProduct || last[0].OfProduct || len(last) != len(app.Variables())+3 {
		t.Errorf("the variables are %v", last)
	}
}

// TestProductVariableTwice refuses a product whose variable is one of the app's.
func TestProductVariableTwice(t *testing.T) {
	t.Parallel()
	defer func() {
		if p, _ := recover().(string); !strings.Contains(p, "PORT exists already") {
			t.Errorf("the panic says %q", p)
		}
	}()
	app.Program{Product: routes.Product{Config: new(struct {
		Port int `env:"PORT" desc:"a port"`
	})}}.Variables()
}

// TestProductVariablesOfOurNames has fields in a product's configuration that are embedded, and that are called
// as those of the app. Each fault names the variable that has it.
func TestProductVariablesOfOurNames(t *testing.T) {
	t.Parallel()
	type limits struct {
		Notes int `env:"NOTES_LIMIT, default=10" desc:"how many notes a person may have"`
	}
	program := app.Program{Product: routes.Product{Config: &struct {
		limits
		Scopes string `env:"NOTES_SCOPES" desc:"the scopes of notes"`
	}{}}}
	var out bytes.Buffer
	if err := program.Run(t.Context(), []string{"check-config"}, nil, &out); err != nil || !strings.Contains(out.String(), "NOTES_LIMIT") {
		t.Errorf("check-config prints %s, error %v", out.String(), err)
	}
	_, err := program.LoadConfig(tenant("AUTH0_SCOPES=profile"))
	if err == nil || !strings.Contains(err.Error(), "AUTH0_SCOPES: lacks openid") {
		t.Errorf("the error is %v", err)
	}
}

// TestProductOpens opens the product before the app answers, and closes it after it has stopped.
func TestProductOpens(t *testing.T) {
	t.Parallel()
	var did []string
	note := func(what string) { did = append(did, what) }
	a := apptest.StartProduct(t, routes.Product{
		Open:   func(context.Context, *routes.App) error { note("open"); return nil },
		Routes: func(routes.Router) { note("routes") },
		Close:  func() error { note("close"); return errors.New("a disk is full") },
	})
	a.Visitor().Get("/healthz")
	if err := a.Stop(); err != nil || !slices.Equal(did, []string{"open", "routes", "close"}) {
		t.Errorf("it did %v, error %v", did, err)
	}
	if lines := a.Logged("the product was not closed", ""); len(lines) != 1 || lines[0]["error"] != "a disk is full" {
		t.Errorf("the log says %v", lines)
	}
}

// TestProductDoesNotOpen starts nothing if the product cannot be opened, and says whose fault it is.
func TestProductDoesNotOpen(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err           error
		want          string
		configuration bool
	}{
		"an outage":                    {errors.New("the disk is full"), "opening the product: the disk is full", false},
		"a fault of the configuration": {openid.Faults{{Field: "NOTES_DATABASE", Problem: "does not answer", Remedy: "start it"}}, "NOTES_DATABASE: does not answer; start it", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			closed := false
			err := app.Program{Product: routes.Product{
				Open:  func(context.Context, *routes.App) error { return tt.err },
				Close: func() error { closed = true; return nil },
			}}.Run(t.Context(), nil, []string{"PORT=0", "DEV_PROVIDER_ADDR=127.0.0.1:0", "DATA_DIR=" + t.TempDir()}, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, app.ErrConfiguration) != tt.configuration {
				t.Errorf("error %v", err)
			}
			if closed {
				t.Error("it closes what was not opened")
			}
		})
	}
}
