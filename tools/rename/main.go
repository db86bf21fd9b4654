// Rename gives a fresh clone the names of the product that is built on it:
//
//	go run -C tools/rename . example.com/acme Acme
//
// The first is the Go module; its last part becomes the name of the program. The second
// is what people read. It is a module of its own so that it needs no other.
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

// The names of a clone that nobody has renamed.
const (
	seedModule  = "latchkey"
	seedProduct = "Latchkey"
)

// renameTest is removed, because it is about a clone that nobody has renamed.
const renameTest = "internal/e2e/project/rename_test.go"

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go run -C tools/rename . MODULE PRODUCT, such as: go run -C tools/rename . example.com/acme Acme")
		os.Exit(2)
	}
	said, err := rename(filepath.Join("..", ".."), os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "rename:", err)
		os.Exit(1)
	}
	fmt.Println(said)
}

// rename changes the checkout at root and says what it did.
func rename(root, module, product string) (string, error) {
	program := path.Base(module)
	if !regexp.MustCompile(`^[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*$`).MatchString(module) || !regexp.MustCompile(`^[a-z][a-z0-9-]*$`).MatchString(program) {
		return "", fmt.Errorf("%q is no module path that ends in the name of a program, such as example.com/acme", module)
	}
	if !regexp.MustCompile(`^[\pL\pN]([\pL\pN .-]*[\pL\pN])?$`).MatchString(product) {
		return "", fmt.Errorf("%q is no name of letters, digits and spaces", product)
	}
	goMod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", err
	}
	switch line, _, _ := strings.Cut(string(goMod), "\n"); line {
	case "module " + seedModule:
	case "module " + module:
		return "The module is " + module + " already. Nothing was changed.", nil
	default:
		return "", fmt.Errorf("go.mod says %q: it has been renamed before, and names that are words cannot be told from words again", line)
	}
	if status, err := git(root, "status", "--porcelain"); err != nil || len(status) > 0 {
		return "", errors.Join(errors.New("the checkout has changes; commit them first, so that git can show and undo what this does"), err)
	}
	listed, err := git(root, "ls-files", "-z")
	if err != nil {
		return "", err
	}
	changed := 0
	for name := range strings.SplitSeq(strings.TrimRight(string(listed), "\x00"), "\x00") {
		did, err := renameIn(root, name, names{module: module, product: product, program: program})
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
	if err := os.Remove(filepath.Join(root, filepath.FromSlash(renameTest))); err != nil {
		return "", err
	}
	return fmt.Sprintf("The module is %s, the program %s, the product %s: %d files changed, see git diff.\nThe licence and what is stored keep their names.",
		module, program, product, changed), nil
}

// names are the new ones.
type names struct{ module, product, program string }

// renameIn changes one file.
func renameIn(root, name string, n names) (bool, error) {
	if name == "LICENSE" || name == renameTest || strings.HasPrefix(name, "tools/rename/") || strings.Contains(name, "/testdata/") {
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

// in returns a file's text with the new names.
func (n names) in(name string, text []byte) []byte {
	replace := func(pattern, with string) {
		text = regexp.MustCompile(pattern).ReplaceAllFunc(text, func(match []byte) []byte {
			return bytes.Replace(match, []byte(seedModule), []byte(with), 1)
		})
	}
	switch path.Ext(name) {
	case ".go", ".templ":
		replace(`"`+seedModule+`/`, n.module)
	case ".mod":
		replace(`(?m)^module `+seedModule+`\b`, n.module)
	}
	// Names in what is stored stay: keys are derived with them, and records found by them.
	// So does the claim of the sample people.
	if strings.HasPrefix(name, "authn/") {
		return text
	}
	// Metrics and alerts, in the characters that Prometheus allows.
	text = regexp.MustCompile(`\b`+seedModule+`_`).ReplaceAllLiteral(text, []byte(strings.ReplaceAll(n.program, "-", "_")+"_"))
	alert := regexp.MustCompile(`[^\pL\pN]`).ReplaceAllString(n.product, "")
	text = regexp.MustCompile(`\b`+seedProduct+`([A-Z])`).ReplaceAll(text, []byte(alert+"${1}"))

	text = regexp.MustCompile(`\b`+seedProduct+`\b`).ReplaceAllLiteral(text, []byte(n.product))
	return regexp.MustCompile("(`?)\\b"+seedModule+`\b(\.example|:`+"`)?").ReplaceAllFunc(text, func(match []byte) []byte {
		if bytes.HasSuffix(match, []byte(".example")) || bytes.HasSuffix(match, []byte(":`")) {
			return match
		}
		return bytes.Replace(match, []byte(seedModule), []byte(n.program), 1)
	})
}

func git(root string, args ...string) ([]byte, error) {
	command := exec.Command("git", args...)
	command.Dir = root
	command.Stderr = os.Stderr
	return command.Output()
}
