package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// prepare creates the directory of the store's file and returns the cleaned path. It refuses
// what someone else could have put there: links, special files, and anything that others can
// write to.
func prepare(path string) (string, error) {
	path = filepath.Clean(path)
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("boltstore: making the directory of %s: %w", path, err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("boltstore: looking at the directory of %s: %w", path, err)
	}
	if !info.IsDir() {
		return "", &Error{Problem: dir + " is " + kind(info), Remedy: "name the directory itself"}
	}
	if err := checkDirectory(dir, info); err != nil {
		return "", err
	}

	info, err = os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	if err != nil {
		return "", fmt.Errorf("boltstore: looking at %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return "", &Error{Problem: path + " is " + kind(info), Remedy: "name a regular file, or one that does not exist yet"}
	}
	return path, checkFile(path, info)
}

func kind(info fs.FileInfo) string {
	switch {
	case info.IsDir():
		return "a directory"
	case info.Mode()&fs.ModeSymlink != 0:
		return "a symbolic link"
	default:
		return "a special file"
	}
}
