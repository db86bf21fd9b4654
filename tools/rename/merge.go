package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// record is what a renamed clone remembers, in tools/rename/clone.json.
type record struct {
	Module  string `json:"module"`
	Product string `json:"product"`
	// Upstream is what the clone holds of upstream: the tree of a commit there, or the
	// commit itself. A rename cannot know the commit, since a clone may begin as a copy
	// without history; the tree is the same in a copy.
	Upstream string `json:"upstream"`
}

const recordFile = "tools/rename/clone.json"

// text returns the text of the file.
func (r record) text() []byte {
	text, _ := json.MarshalIndent(r, "", "\t") // strings cannot fail
	return append(text, '\n')
}

func writeRecord(root string, text []byte) error {
	return os.WriteFile(filepath.Join(root, filepath.FromSlash(recordFile)), text, 0o644)
}

// readRecord returns the record, and the text of its file.
func readRecord(root string) (r record, text []byte, err error) {
	text, err = os.ReadFile(filepath.Join(root, filepath.FromSlash(recordFile)))
	if errors.Is(err, os.ErrNotExist) {
		return r, nil, fmt.Errorf("there is no %s: rename the clone first; docs/upgrading.md says how to write the file for a clone that was renamed without it", recordFile)
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, text, err
}

// merge brings the changes between the upstream commit that the clone holds and another
// into the checkout at root, as one commit.
//
// It gives both upstream commits the names of the clone, each with its own version of this
// tool, and cherry-picks the difference. So lines conflict only if both sides have changed
// them, and nothing depends on how the clone came to be or on how its branches are merged.
func merge(root, target string) (string, error) {
	r, text, err := readRecord(root)
	if err != nil {
		return "", err
	}
	if err := clean(root); err != nil {
		return "", err
	}
	if target, err = git(root, "rev-parse", "--verify", "--end-of-options", target+"^{commit}"); err != nil {
		return "", fmt.Errorf("%w: add upstream as a remote and fetch it first", err)
	}
	base, err := heldCommit(root, r.Upstream, target)
	if err != nil {
		return "", err
	}
	if base == target {
		return "The clone has everything up to this commit. Nothing has changed.", nil
	}
	log, err := git(root, "log", "--no-merges", "--format=* %s (%h)", base+".."+target)
	if err != nil {
		return "", err
	}
	before, err := renamedCommit(root, base, "Upstream before", r, text)
	if err != nil {
		return "", err
	}
	short, err := git(root, "describe", "--always", "--tags", target)
	if err != nil {
		return "", err
	}
	if r.Upstream, err = git(root, "rev-parse", target+"^{tree}"); err != nil {
		return "", err
	}
	after, err := renamedCommit(root, target, "Merge "+seedProduct+" "+short+"\n\n"+log+"\n", r, r.text(), "-p", before)
	if err != nil {
		return "", err
	}
	if err := pick(root, after); err != nil {
		return "", err
	}
	return "Merged as one commit:\n" + log + "\nCheck it with .ci/run. To undo it: git reset --hard HEAD~", nil
}

// heldCommit returns the newest upstream commit up to target that is held, or has that tree.
func heldCommit(root, held, target string) (string, error) {
	commits, err := git(root, "log", "--format=%H %T", target)
	if err != nil {
		return "", err
	}
	// A tag stands for its commit. A tree stands for itself.
	if commit, err := git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", held+"^{}"); err == nil {
		held = commit
	}
	for line := range strings.Lines(commits) {
		if hashes := strings.Fields(line); slices.Contains(hashes, held) {
			return hashes[0], nil
		}
	}
	return "", fmt.Errorf("no upstream commit up to %.12s is the %.12s that %s names: write the commit there that the clone was made from; "+
		"git merge-base prints it if the clone has upstream's history", target, held, recordFile)
}

// renamedCommit returns a commit of what upstream has at a commit, under the clone's names
// and with the given record of it.
func renamedCommit(root, commit, message string, r record, text []byte, parents ...string) (renamed string, err error) {
	temporary, err := os.MkdirTemp("", "upstream-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	tree := filepath.Join(temporary, "tree")
	if _, err := git(root, "worktree", "add", "--quiet", "--detach", tree, commit); err != nil {
		return "", err
	}
	defer func() {
		_, failed := git(root, "worktree", "remove", "--force", tree)
		err = errors.Join(err, failed)
	}()
	if _, err := run(filepath.Join(tree, "tools", "rename"), "go", "run", ".", r.Module, r.Product); err != nil {
		return "", err
	}
	if err := writeRecord(tree, text); err != nil {
		return "", err
	}
	if _, err := git(tree, "add", "--all"); err != nil {
		return "", err
	}
	if renamed, err = git(tree, "write-tree"); err != nil {
		return "", err
	}
	return git(root, append([]string{"commit-tree", "-m", message, renamed}, parents...)...)
}

// attributes tell git how to merge files if both sides have changed them: sums of modules
// and rows of the table of variables are all kept, and the files that speak for the product
// stay the product's.
const attributes = `go.sum merge=union
/docs/configuration.md merge=union
/README.md merge=ours
/SECURITY.md merge=ours
/LICENSE merge=ours
`

// pick applies a commit to the checkout and generates the views again, because generated
// files hold line numbers.
func pick(root, commit string) error {
	file, err := os.CreateTemp("", "attributes-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.WriteString(attributes); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	_, picked := git(root, "-c", "core.attributesFile="+file.Name(), "-c", "merge.ours.driver=true", "cherry-pick", commit)
	unmerged, err := git(root, "diff", "--name-only", "--diff-filter=U")
	if err != nil || picked != nil && unmerged == "" {
		return errors.Join(picked, err)
	}
	source := slices.DeleteFunc(strings.Fields(unmerged), func(name string) bool { return strings.HasSuffix(name, "_templ.go") })
	if len(source) > 0 {
		return fmt.Errorf(`both sides have changed the same lines of:
  %s
Edit them, then:
  go tool -modfile=tools/go.mod templ generate
  git add --all && git cherry-pick --continue
To take everything back: git cherry-pick --abort`, strings.Join(source, "\n  "))
	}
	if _, err := run(root, "go", "tool", "-modfile=tools/go.mod", "templ", "generate", "-log-level=warn"); err != nil {
		return fmt.Errorf("%w: correct the views, generate them again, then: git add --all && git cherry-pick --continue, or git commit --amend if nothing is left to pick", err)
	}
	if _, err := git(root, "add", "--", "*_templ.go"); err != nil {
		return err
	}
	if picked != nil {
		_, err = git(root, "-c", "core.editor=true", "cherry-pick", "--continue")
		return err
	}
	_, err = git(root, "commit", "--quiet", "--amend", "--no-edit")
	return err
}
