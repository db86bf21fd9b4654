// Rename gives a fresh clone the names of the product that is built on it, and later
// brings in what has changed upstream under those names:
//
//	go run -C tools/rename . example.com/acme Acme
//	go run -C tools/rename . -merge upstream/main
//
// MODULE is the path of the Go module. Its last element becomes the name of the program.
// PRODUCT is the name that people read. docs/upgrading.md explains both commands.
//
// Rename is a module of its own so that it needs no other.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// The names of a clone that has not been renamed.
const (
	seedModule  = "latchkey"
	seedProduct = "Latchkey"
)

const usage = `usage:
  go run -C tools/rename . MODULE PRODUCT    rename a fresh clone, as in: example.com/acme Acme
  go run -C tools/rename . -merge COMMIT     merge what has changed upstream, as in: upstream/main`

func main() {
	root, args := filepath.Join("..", ".."), os.Args[1:]
	var report string
	var err error
	switch {
	case len(args) != 2 || args[0] != "-merge" && strings.HasPrefix(args[0], "-"):
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	case args[0] == "-merge":
		report, err = merge(root, args[1])
	default:
		report, err = rename(root, args[0], args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rename:", err)
		os.Exit(1)
	}
	fmt.Println(report)
}

// rename renames the checkout at root and reports what it changed.
func rename(root, module, product string) (string, error) {
	program := path.Base(module)
	if !regexp.MustCompile(`^[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*$`).MatchString(module) || !regexp.MustCompile(`^[a-z][a-z0-9-]*$`).MatchString(program) {
		return "", fmt.Errorf("%q is not a module path that ends in the name of a program, such as example.com/acme", module)
	}
	if !regexp.MustCompile(`^[\pL\pN]([\pL\pN .-]*[\pL\pN])?$`).MatchString(product) {
		return "", fmt.Errorf("%q is not a product name: use letters, digits and spaces", product)
	}
	if dir, base := path.Split(module); word.MatchString(dir) || word.MatchString(base) && base != seedModule {
		return "", fmt.Errorf("%q contains the word %s, which is what is renamed: choose a module path without it", module, seedModule)
	}
	goMod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", err
	}
	switch line, _, _ := strings.Cut(string(goMod), "\n"); strings.TrimSpace(line) {
	case "module " + seedModule:
	case "module " + module:
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(recordFile))); err != nil {
			return "", fmt.Errorf("the clone has been renamed in part: undo that with git checkout . and git clean, and try again: %w", err)
		}
		return "The module is already " + module + ". Nothing has changed.", nil
	default:
		return "", fmt.Errorf("go.mod says %q: a clone can be renamed only once, because the new names may be ordinary words in other places", line)
	}
	if err := clean(root); err != nil {
		return "", err
	}
	tree, err := git(root, "rev-parse", "HEAD^{tree}")
	if err != nil {
		return "", err
	}
	listed, err := git(root, "ls-files", "-z")
	if err != nil {
		return "", err
	}
	changed := 0
	for name := range strings.SplitSeq(strings.TrimRight(listed, "\x00"), "\x00") {
		did, err := names{module: module, product: product, program: program}.apply(root, name)
		if err != nil {
			return "", err
		}
		if did {
			changed++
		}
	}
	unit := filepath.Join(root, "deploy", seedModule+".service")
	if err := os.Rename(unit, filepath.Join(root, "deploy", program+".service")); err != nil {
		return "", err
	}
	if err := writeRecord(root, record{Module: module, Product: product, Upstream: tree}.text()); err != nil {
		return "", err
	}
	return fmt.Sprintf("The module is now %s, the program %s and the product %s: %d files have changed, see git diff.\n"+
		"Commit them before you change anything else. The licence and the names in stored data stay as they were.",
		module, program, product, changed), nil
}

// names are the new names.
type names struct{ module, product, program string }

// These mark what a renamed clone does not need. The tool removes a file that contains removeFile,
// and the lines from removeFrom to removeTo in any other.
const (
	removeFile = "tools/rename removes this file"
	removeFrom = "tools/rename removes the lines from here"
	removeTo   = "to here"
)

// apply renames in one file, and reports whether it changed the file.
func (n names) apply(root, name string) (bool, error) {
	if keeps(name) {
		return false, nil
	}
	file := filepath.Join(root, filepath.FromSlash(name))
	info, err := os.Lstat(file)
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	before, err := os.ReadFile(file)
	if err != nil || bytes.IndexByte(before, 0) >= 0 {
		return false, err
	}
	if bytes.Contains(before, []byte(removeFile)) {
		return true, os.Remove(file)
	}
	after := n.in(name, before)
	if strings.HasSuffix(name, ".go") {
		if after, err = format.Source(after); err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
	}
	if bytes.Equal(before, after) {
		return false, nil
	}
	return true, os.WriteFile(file, after, info.Mode())
}

// keeps reports whether a file keeps the names that it has: the licence, and what is about
// upstream.
func keeps(name string) bool {
	return name == "LICENSE" || name == "CHANGELOG.md" || name == "docs/upgrading.md" ||
		strings.HasPrefix(name, "tools/rename/") || strings.Contains(name, "/testdata/")
}

var (
	removed = regexp.MustCompile(`(?ms)^[^\n]*` + removeFrom + `.*?` + removeTo + `[^\n]*\n`)
	modName = regexp.MustCompile(`\b` + seedModule + `\b`)
	imports = regexp.MustCompile(`"` + seedModule + `/`)
	alerts  = regexp.MustCompile(`\b` + seedProduct + `([A-Z])`)
	title   = regexp.MustCompile(`\b` + seedProduct + `\b`)
	metrics = regexp.MustCompile(`\b` + seedModule + `_`)
	// What is stored keeps its names: the prefix of keys in Redis, and the labels that
	// encryption keys are derived with. So does the claim of the sample people, which is a
	// provider's to name.
	stored = `:[^ ]| 1 |\.example\b`
	word   = regexp.MustCompile(`\b` + seedModule + `(?:` + stored + `|\b)`)
)

// in returns the text of a file with the new names.
func (n names) in(name string, text []byte) []byte {
	text = removed.ReplaceAll(text, nil)
	switch path.Ext(name) {
	case ".go", ".templ", ".md":
		text = imports.ReplaceAllLiteral(text, []byte(`"`+n.module+"/"))
	case ".mod":
		text = modName.ReplaceAllLiteral(text, []byte(n.module))
	}
	// Alerts and metrics have the characters that Prometheus allows.
	alert := regexp.MustCompile(`[^\pL\pN]`).ReplaceAllString(n.product, "")
	text = alerts.ReplaceAll(text, []byte(alert+"${1}"))
	text = metrics.ReplaceAllLiteral(text, []byte(strings.ReplaceAll(n.program, "-", "_")+"_"))

	text = title.ReplaceAllLiteral(text, []byte(n.product))
	return word.ReplaceAllFunc(text, func(match []byte) []byte {
		if string(match) == seedModule {
			return []byte(n.program)
		}
		return match
	})
}

// clean returns an error if the checkout has changes.
func clean(root string) error {
	if status, err := git(root, "status", "--porcelain"); err != nil || status != "" {
		return errors.Join(errors.New("the checkout has changes; commit them first, so that git can show and undo what this does"), err)
	}
	return nil
}

// git runs git in a folder and returns what it prints, without the final newline.
func git(dir string, args ...string) (string, error) {
	output, err := run(dir, "git", args...)
	return strings.TrimSuffix(output, "\n"), err
}

// run runs a program in a folder and returns its standard output.
func run(dir, program string, args ...string) (string, error) {
	command := exec.Command(program, args...)
	command.Dir = dir
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
	}
	return string(output), err
}
