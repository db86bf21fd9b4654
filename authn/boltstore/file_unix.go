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
		return fmt.Errorf("boltstore: others can write to the directory %s (mode %#o): run chmod 700 on it, or name a directory of the app's own", dir, mode)
	}
	return checkOwner(dir, info)
}

func checkFile(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("boltstore: others can read or write %s (mode %#o): run chmod 600 on it", path, mode)
	}
	return checkOwner(path, info)
}

// checkOwner lets root own what this process uses: root can change it anyway.
func checkOwner(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 || int(stat.Uid) == os.Geteuid() {
		return nil
	}
	return fmt.Errorf("boltstore: %s belongs to user %d, and this process runs as user %d: run chown %d on it", path, stat.Uid, os.Geteuid(), os.Geteuid())
}

// syncDirectory makes the name of a new file outlive a loss of power.
func syncDirectory(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
