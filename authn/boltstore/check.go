package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ErrHeld means that another process holds the file.
var ErrHeld = errors.New("another process has the file open")

// Error is an error with a remedy.
type Error struct {
	// Problem names the path, and Remedy says what to do.
	Problem, Remedy string
	// Err is the cause, or nil. Problem quotes it.
	Err error
}

// Error implements error.
func (e *Error) Error() string { return "boltstore: " + e.Problem + ": " + e.Remedy }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// checkWait is how long Check waits for a process that is about to exit.
const checkWait = 200 * time.Millisecond

// Check reports whether Open would succeed and the file is writable, and changes nothing. If
// there is no file, it checks the directory in which Open would create it. found reports
// whether there is a file. The error wraps ErrHeld if another process has the file open, as a
// running app does, and an *Error if the file or its directory is at fault.
func Check(ctx context.Context, path string) (found bool, err error) {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return false, checkNew(path)
	}
	s, err := open(path, checkWait)
	if err != nil {
		return true, err
	}
	return true, errors.Join(s.Ping(ctx), s.Close())
}

func checkNew(path string) error {
	dir := filepath.Dir(filepath.Clean(path))
	if _, err := os.Lstat(dir); err == nil {
		if _, err := prepare(path); err != nil { // creates nothing, because the directory exists
			return err
		}
	}
	for {
		_, err := os.Lstat(dir)
		if err == nil || !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	probe, err := os.CreateTemp(dir, ".writable-")
	if err != nil {
		return fmt.Errorf("boltstore: nothing can be made in %s: %w", dir, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
