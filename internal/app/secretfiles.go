package app

import (
	"log/slog"
	"os"
	"path/filepath"

	"latchkey/authn"
)

// warnOfOpenFiles says in the log which files with secrets others than their owner can
// read. On a machine of one's own, where the base URL is loopback, that is nobody's
// business.
func (c *Config) warnOfOpenFiles(log *slog.Logger) {
	if authn.IsLoopback(c.baseURL(c.Port).Hostname()) {
		return
	}
	for _, path := range []string{".env", c.ClientSigningKey, c.TLSKeyFile, filepath.Join(c.DataDir, secretFile)} {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o044 != 0 {
			log.Warn("file with secrets can be read by others", "file", path, "mode", info.Mode().Perm().String())
		}
	}
}
