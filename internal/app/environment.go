package app

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/joho/godotenv"
	"github.com/kelseyhightower/envconfig"
)

// environment guards the process's environment while LoadConfig lends it to envconfig,
// which can read from nowhere else.
var environment sync.Mutex

// LoadConfig reads the configuration from env, a list of NAME=value as [os.Environ] returns
// it. A .env file in the working directory supplies variables that env does not set. The
// error joins all faults, and quotes no secret.
func LoadConfig(env []string) (*Config, error) {
	variables, err := withDotEnv(env)
	if err != nil {
		return nil, err
	}
	cfg, faults := readVariables(variables)
	faults = append(faults, unknown(variables)...)
	faults = append(faults, cfg.validate()...)
	return cfg, errors.Join(faults...)
}

// withDotEnv merges env over the .env file. An empty variable counts as unset, because
// envconfig would let it override a default.
func withDotEnv(env []string) (map[string]string, error) {
	variables, err := readDotEnv()
	if err != nil {
		return nil, err
	}
	for name, value := range variables {
		if strings.TrimSpace(value) == "" {
			delete(variables, name)
		}
	}
	set := make(map[string]string)
	for _, entry := range env {
		if name, value, ok := strings.Cut(entry, "="); ok {
			set[name] = value
		}
	}
	for name, value := range set {
		if strings.TrimSpace(value) != "" {
			variables[name] = value
		}
	}
	return variables, nil
}

// readDotEnv reads the .env file, if there is one. Some editors begin a file with a byte
// order mark, which is not part of the first name.
func readDotEnv() (map[string]string, error) {
	file, err := os.ReadFile(".env")
	if errors.Is(err, os.ErrNotExist) {
		return make(map[string]string), nil
	}
	if err != nil {
		return nil, fmt.Errorf(".env: cannot be opened (%w); let the program's user read it, or remove it", errors.Unwrap(err))
	}
	text := strings.TrimPrefix(string(file), "\ufeff")
	variables, err := godotenv.Unmarshal(text)
	if err != nil {
		// The library's error quotes the file, which holds secrets.
		return nil, fmt.Errorf(".env: line %d cannot be read; write one NAME=value a line, and values with spaces or $ in single quotes", unreadableLine(text))
	}
	return variables, nil
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

// readVariables fills a Config. envconfig stops at the first value that it cannot read, so
// readVariables reports that value, removes it and tries again.
func readVariables(variables map[string]string) (*Config, []error) {
	environment.Lock()
	defer environment.Unlock()
	restore := make(map[string]string)
	for _, name := range variableNames() {
		if value, ok := os.LookupEnv(name); ok {
			restore[name] = value
		}
		os.Unsetenv(name)
		if value, ok := variables[name]; ok {
			os.Setenv(name, value)
		}
	}
	defer func() {
		for _, name := range variableNames() {
			os.Unsetenv(name)
		}
		for name, value := range restore {
			os.Setenv(name, value)
		}
	}()

	cfg := new(Config)
	var faults []error
	for {
		err := envconfig.Process("", cfg)
		if err == nil {
			for _, list := range [][]string{cfg.IDTokenAlgorithms, cfg.TrustedProxies, cfg.PictureOrigins} {
				for i := range list {
					list[i] = strings.TrimSpace(list[i])
				}
			}
			return cfg, faults
		}
		parseError, ok := errors.AsType[*envconfig.ParseError](err)
		if !ok {
			return cfg, append(faults, fmt.Errorf("configuration: %w", err))
		}
		faults = append(faults, fmt.Errorf("%s: %q is not %s", parseError.KeyName, parseError.Value, kindOf(parseError.TypeName)))
		os.Unsetenv(parseError.KeyName)
	}
}

func kindOf(typeName string) string {
	switch strings.TrimPrefix(typeName, "*") {
	case "int":
		return "a number, such as 3000"
	case "time.Duration":
		return "a duration, such as 30m, 24h or 90s"
	default:
		return "a value that fits"
	}
}

// variableNames returns the variables of Config in order.
func variableNames() []string {
	var names []string
	for field := range reflect.TypeFor[Config]().Fields() {
		if name := field.Tag.Get("envconfig"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// unknown reports variables that look like misspellings of the program's own. A product may
// have AUTH0_ variables of its own, so the prefix alone is no fault.
func unknown(variables map[string]string) []error {
	plain := func(name string) string { return strings.ReplaceAll(strings.ToUpper(name), "_", "") }
	known := variableNames()
	var faults []error
	for name := range variables {
		if slices.Contains(known, name) {
			continue
		}
		if i := slices.IndexFunc(known, func(k string) bool { return len(k) > 8 && closeTo(plain(name), plain(k)) }); i >= 0 {
			faults = append(faults, fmt.Errorf("%s: there is no such variable; is %s meant?", name, known[i]))
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return faults
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
