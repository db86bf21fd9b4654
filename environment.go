package main

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

// environment guards the process's environment while loadConfig lends it to
// envconfig, which reads from nowhere else.
var environment sync.Mutex

// loadConfig reads the configuration from env, a list of NAME=value as of
// os.Environ, and from a .env file in the working directory for what env does not
// set. The error joins every fault that it finds; none of them quotes a secret.
func loadConfig(env []string) (*Config, error) {
	variables, err := withDotEnv(env)
	if err != nil {
		return nil, err
	}
	cfg, faults := readVariables(variables)
	faults = append(faults, unknown(variables)...)
	faults = append(faults, cfg.validate()...)
	return cfg, errors.Join(faults...)
}

// withDotEnv merges env over the .env file. A variable that is set to nothing counts
// as not set: envconfig would let it override a default.
func withDotEnv(env []string) (map[string]string, error) {
	variables, err := godotenv.Read(".env")
	if errors.Is(err, os.ErrNotExist) {
		variables = make(map[string]string)
	} else if err != nil {
		// The library's error quotes the file, which holds secrets.
		return nil, errors.New(".env: cannot be read; write one NAME=value a line, and values with spaces or $ in single quotes")
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

// readVariables fills a Config. envconfig stops at the first value that it cannot read, so
// each such value is reported, left out, and the rest tried again.
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
	switch typeName {
	case "int":
		return "a number, such as 3000"
	case "time.Duration":
		return "a duration, such as 30m, 24h or 90s"
	default:
		return "a value that fits"
	}
}

// variableNames lists the variables of Config in order.
func variableNames() []string {
	var names []string
	for field := range reflect.TypeFor[Config]().Fields() {
		if name := field.Tag.Get("envconfig"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// unknown reports variables that are meant for this app and misspelt.
func unknown(variables map[string]string) []error {
	var faults []error
	known := variableNames()
	for name := range variables {
		ours := strings.HasPrefix(name, "AUTH0_") || strings.HasPrefix(name, "OIDC_")
		if ours && !slices.Contains(known, name) {
			faults = append(faults, fmt.Errorf("%s: there is no such variable; `latchkey help` lists them", name))
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return faults
}
