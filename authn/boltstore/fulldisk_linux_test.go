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

// TestFM17AFullDiskKeepsNobodySignedIn (FM-17) lets sessions of usual sizes begin until the
// disk is full, and ends them all; and that again, once it is not. A process of its own does
// so, whose files may not grow: so much of a full disk can be had without root's rights.
func TestFM17AFullDiskKeepsNobodySignedIn(t *testing.T) {
	const asChild = "BOLTSTORE_TEST_FULL_DISK"
	if size, err := strconv.Atoi(os.Getenv(asChild)); err == nil {
		must(t, fillAndEmpty(filepath.Join(t.TempDir(), "data", "sessions.db"), size))
		return
	}
	t.Parallel()
	for _, size := range []int{1000, 3000} {
		t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
			t.Parallel()
			child := exec.Command(os.Args[0], "-test.run=^TestFM17AFullDiskKeepsNobodySignedIn$")
			child.Env = append(os.Environ(), fmt.Sprint(asChild, "=", size))
			if output, err := child.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

// fillAndEmpty is what the process does.
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
				return fmt.Errorf("%d sessions of %d bytes have begun, and the disk is not full", len(begun), size)
			}
		}
	}
	for i, r := range begun {
		if _, err := s.Load(ctx, r.Key); err != nil {
			return fmt.Errorf("number %d of %d cannot be read: %w", i, len(begun), err)
		}
	}
	var ending errgroup.Group
	ending.SetLimit(8)
	for i, r := range begun {
		ending.Go(func() error {
			if err := s.End(ctx, r.Key, authn.CauseSignedOut, r.Expires); err != nil {
				return fmt.Errorf("number %d of %d has not ended: %w", i, len(begun), err)
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
