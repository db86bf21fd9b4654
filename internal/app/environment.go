package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/joho/godotenv"
	"github.com/sethvargo/go-envconfig"

	"latchkey/authn/openid"
)

// LoadConfig reads the configuration of the app alone; see [Program.LoadConfig].
func LoadConfig(env []string) (*Config, error) { return Program{}.LoadConfig(env) }

// LoadConfig reads the configuration of the app and of the product from env, a list of NAME=value as
// [os.Environ] returns it. A .env file in the working directory supplies variables that env does not set. The
// error is of type [openid.Faults], with a variable for a field; it holds all faults.
func (p Program) LoadConfig(env []string) (*Config, error) {
	values, err := withDotEnv(env)
	if err != nil {
		return nil, err
	}
	cfg, faults := p.decode(values)
	cfg.readProviders(values, &faults)
	addUnknown(&faults, values, cfg.variables())
	cfg.validate(&faults)
	if len(faults) > 0 {
		return nil, faults
	}
	return cfg, nil
}

// withDotEnv merges env over the .env file. An empty variable counts as unset.
func withDotEnv(env []string) (map[string]string, error) {
	values, err := readDotEnv()
	if err != nil {
		return nil, err
	}
	set := make(map[string]string)
	for _, entry := range env {
		if name, value, ok := strings.Cut(entry, "="); ok {
			set[name] = value
		}
	}
	empty := func(_, value string) bool { return strings.TrimSpace(value) == "" }
	maps.DeleteFunc(set, empty)
	maps.DeleteFunc(values, empty)
	maps.Copy(values, set)
	return values, nil
}

// readDotEnv reads the .env file, if there is one. Some editors begin a file with a byte
// order mark, which is not part of the first name.
func readDotEnv() (map[string]string, error) {
	file, err := os.ReadFile(".env")
	if errors.Is(err, os.ErrNotExist) {
		return make(map[string]string), nil
	}
	if err != nil {
		return nil, openid.Faults{{Field: ".env", Problem: fmt.Sprintf("cannot be opened (%v)", errors.Unwrap(err)), Remedy: "let the program's user read it, or remove it"}}
	}
	text := strings.TrimPrefix(string(file), "\ufeff")
	values, err := godotenv.Unmarshal(text)
	if err != nil {
		// The library's error quotes the file, which holds secrets.
		return nil, openid.Faults{{Field: ".env", Problem: fmt.Sprintf("line %d cannot be read", unreadableLine(text)), Remedy: "write one NAME=value a line, and values with spaces or $ in single quotes"}}
	}
	return values, nil
}

// unreadableLine returns the number of the first line that cannot be read.
func unreadableLine(text string) int {
	read, number, good := "", 0, 0
	for line := range strings.Lines(text) {
		read, number = read+line, number+1
		if _, err := godotenv.Unmarshal(read); err == nil {
			good = number
		}
	}
	return good + 1
}

// decode fills a Config. envconfig stops at the first value that it cannot read, so decode
// tries each variable alone first, and leaves out those that it cannot read.
func (p Program) decode(values map[string]string) (cfg *Config, faults openid.Faults) {
	cfg = &Config{program: p, set: make(map[string]bool)}
	readable := make(map[string]string)
	for _, v := range p.Variables() {
		value, ok := values[v.Name]
		if !ok {
			continue
		}
		cfg.set[v.Name] = true
		decodeOne(v.Name, v, value, readable, &faults)
	}
	for _, settings := range []any{cfg, p.Product.Config} {
		if settings == nil {
			continue
		}
		if err := process(settings, readable); err != nil {
			panic("app: the tags of the settings: " + err.Error())
		}
	}
	return cfg, faults
}

// decodeOne adds the value of a variable to those that can be read, or its fault under a name.
func decodeOne(name string, v Variable, value string, readable map[string]string, f *openid.Faults) {
	if problem, inner := surroundings(value); problem != "" && v.isText() {
		f.Add(name, problem, "remove it: the program does not trim values")
		value = inner // further faults are its own
	}
	one := map[string]string{v.Name: value}
	field := reflect.StructField{Name: v.field.Name, Type: v.field.Type, Tag: v.field.Tag}
	alone := reflect.New(reflect.StructOf([]reflect.StructField{field})).Interface()
	if err := process(alone, one); err != nil {
		f.Add(name, fmt.Sprintf("is %q", value), "write "+form(v.field.Type))
		return
	}
	maps.Copy(readable, one)
}

// variables returns all variables that this configuration could set, those of each provider too.
func (c *Config) variables() []Variable {
	list := c.program.Variables()
	for _, p := range c.providers {
		if p.name == "" {
			continue
		}
		for _, v := range NamedVariables() {
			v.Name = v.Named(p.name)
			list = append(list, v)
		}
	}
	return list
}

func process(settings any, values map[string]string) error {
	return envconfig.ProcessWith(context.Background(), &envconfig.Config{Target: settings, Lookuper: envconfig.MapLookuper(values)})
}

// surroundings describes what is around a value and cannot belong to it, and returns the value
// without it. A file for a secret often ends with a line break, and Docker's --env-file keeps
// quotation marks. The description quotes nothing, because the value may be a secret.
func surroundings(value string) (problem, inner string) {
	inner = strings.TrimFunc(value, invisible)
	last, _ := utf8.DecodeLastRuneInString(value)
	switch {
	case inner != value && (last == '\n' || last == '\r'):
		return "ends with a line break", inner
	case inner != value && strings.HasPrefix(value, inner):
		return "ends with white space or another character that cannot be seen", inner
	case inner != value:
		return "begins with white space or another character that cannot be seen", inner
	}
	for _, marks := range []string{`""`, "''", "``", "“”", "‘’"} {
		opening, size := utf8.DecodeRuneInString(marks)
		if rest, ok := strings.CutPrefix(value, string(opening)); ok && strings.HasSuffix(rest, marks[size:]) {
			return "is in quotation marks, which are part of the value", strings.TrimSuffix(rest, marks[size:])
		}
	}
	return "", value
}

// invisible reports whether a character is white space, a control character, or one without a width,
// such as a byte order mark.
func invisible(r rune) bool { return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf) }

// isText reports whether the variable's value is a text that is used as it is. Lists are not: the
// white space around their elements does not count.
func (v Variable) isText() bool {
	return v.field.Type.Kind() == reflect.String && v.Name != "APP_SECRET_KEY" && v.Name != "AUTH0_SCOPES"
}

// form describes what the value of a variable looks like. Any text is a string.
func form(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[slog.Level]():
		return "debug, info, warn or error"
	case t == reflect.TypeFor[time.Duration](), t == reflect.TypeFor[*time.Duration]():
		return "a duration, such as 30m, 24h or 90s"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case reflect.Zero(t).CanInt(), reflect.Zero(t).CanUint():
		return "a number, such as 3000"
	default:
		return "a value of the type " + t.String()
	}
}

// addUnknown adds the variables that look like misspellings of the program's own. A product may
// have AUTH0_ variables of its own, so the prefix alone is no fault.
func addUnknown(f *openid.Faults, values map[string]string, known []Variable) {
	plain := func(name string) string { return strings.ReplaceAll(strings.ToUpper(name), "_", "") }
	spellings := make([]string, len(known))
	for i, v := range known {
		spellings[i] = plain(v.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if slices.ContainsFunc(known, func(v Variable) bool { return v.Name == name }) {
			continue
		}
		spelling := plain(name)
		for i, v := range known {
			if len(v.Name) > 8 && closeTo(spelling, spellings[i]) {
				f.Add(name, "there is no such variable", "did you mean "+v.Name+"?")
				break
			}
		}
	}
}

// closeTo reports whether two names differ by at most one letter: added, removed, replaced,
// or swapped with its neighbour.
func closeTo(a, b string) bool {
	head := 0
	for head < min(len(a), len(b)) && a[head] == b[head] {
		head++
	}
	a, b = a[head:], b[head:]
	tail := 0
	for tail < min(len(a), len(b)) && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	a, b = a[:len(a)-tail], b[:len(b)-tail]
	return max(len(a), len(b)) <= 1 || (len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0])
}
