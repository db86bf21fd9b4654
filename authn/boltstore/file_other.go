//go:build !unix

package boltstore

import "io/fs"

// Elsewhere access lists, which a file mode does not show, say who may write.
func checkDirectory(string, fs.FileInfo) error { return nil }

func checkFile(string, fs.FileInfo) error { return nil }

func syncDirectory(string) error { return nil }
