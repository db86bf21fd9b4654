package boltstore_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"latchkey/authn"
	"latchkey/authn/boltstore"
)

// TestFullDiskAllowsSignOut (FM-17) creates sessions of usual sizes until the disk is full,
// ends them all, and repeats that. It runs in a child process with a limit on file size,
// which imitates a full disk without root's rights.
func TestFullDiskAllowsSignOut(t *testing.T) {
	const asChild = "BOLTSTORE_TEST_FULL_DISK"
	if size, err := strconv.Atoi(os.Getenv(asChild)); err == nil {
		must(t, fillAndEmpty(filepath.Join(t.TempDir(), "data", "sessions.db"), size))
		return
	}
	t.Parallel()
	for _, size := range []int{1000, 3000} {
		t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
			t.Parallel()
			child := exec.Command(os.Args[0], "-test.run=^TestFullDiskAllowsSignOut$")
			child.Env = append(os.Environ(), fmt.Sprint(asChild, "=", size))
			if output, err := child.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

// fillAndEmpty runs in the child process.
func fillAndEmpty(path string, size int) error {
	ctx := context.Background()
	s, err := boltstore.Open(path)
	if err != nil {
		return err
	}
	var begun []authn.Record
	begin := func(size int) error {
		r := newRecord(size)
		err := s.Create(ctx, r)
		if err == nil {
			begun = append(begun, r)
		}
		return err
	}
	for range 40 {
		if err := begin(size); err != nil {
			return err
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := limitFiles(uint64(info.Size())); err != nil {
		return err
	}
	for _, size := range []int{size, 1000} {
		for full := false; !full; {
			if full = begin(size) != nil; len(begun) > 20_000 {
				return fmt.Errorf("the disk is not full after %d sessions of %d bytes", len(begun), size)
			}
		}
	}
	for i, r := range begun {
		if _, err := s.Load(ctx, r.Key); err != nil {
			return fmt.Errorf("loading session %d of %d: %w", i, len(begun), err)
		}
	}
	var ending errgroup.Group
	ending.SetLimit(8)
	for i, r := range begun {
		ending.Go(func() error {
			if err := s.End(ctx, r.Key, authn.CauseSignedOut, r.Expires); err != nil {
				return fmt.Errorf("ending session %d of %d: %w", i, len(begun), err)
			}
			return nil
		})
	}
	if err := ending.Wait(); err != nil {
		return err
	}
	if err := limitFiles(^uint64(0)); err != nil {
		return err
	}
	return begin(size)
}

func limitFiles(size uint64) error {
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: ^uint64(0)})
}
