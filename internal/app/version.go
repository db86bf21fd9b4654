package app

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version says what the program was built from.
func version(_ context.Context, c invocation) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	provider := "none (built with -tags release)"
	if developmentProviderIncluded {
		provider = "built in"
	}
	_, err := fmt.Fprintf(c.stdout, "latchkey %s\ncommit                %s\nGo                    %s %s/%s\ndevelopment provider  %s\n",
		cmp.Or(info.Main.Version, "(devel)"), commit(info), runtime.Version(), runtime.GOOS, runtime.GOARCH, provider)
	return err
}

// commit is the commit of the checkout that the program was built in, as far as the
// toolchain noted it: `go run` notes nothing.
func commit(info *debug.BuildInfo) string {
	settings := make(map[string]string)
	for _, setting := range info.Settings {
		settings[setting.Key] = setting.Value
	}
	revision := settings["vcs.revision"]
	if revision == "" {
		return "not known"
	}
	if settings["vcs.modified"] == "true" {
		return revision + " with changes, " + settings["vcs.time"]
	}
	return revision + ", " + settings["vcs.time"]
}
