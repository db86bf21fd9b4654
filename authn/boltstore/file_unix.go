//go:build unix

package boltstore

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

func checkDirectory(dir string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return &Error{Problem: fmt.Sprintf("others can write to the directory %s (mode %#o)", dir, mode), Remedy: "run chmod 700 on it, or name a directory that only the app uses"}
	}
	return checkOwner(dir, info)
}

func checkFile(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return &Error{Problem: fmt.Sprintf("others can read or write %s (mode %#o)", path, mode), Remedy: "run chmod 600 on it"}
	}
	return checkOwner(path, info)
}

// checkOwner returns an error unless this process or root owns the file. Root can change any
// file anyway.
func checkOwner(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 || int(stat.Uid) == os.Geteuid() {
		return nil
	}
	remedy := fmt.Sprintf("run chown %d on it", os.Geteuid())
	if os.Geteuid() == 0 {
		remedy = fmt.Sprintf("run this as user %d, as the app does; only if the app itself runs as root, run chown 0 on it", stat.Uid)
	}
	return &Error{
		Problem: fmt.Sprintf("%s belongs to user %d, and this process runs as user %d", path, stat.Uid, os.Geteuid()), Remedy: remedy,
	}
}

// syncDirectory makes the name of a new file survive a power failure.
func syncDirectory(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
