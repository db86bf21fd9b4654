package app_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
)

// TestOpenFilesAreTold (SL-06) starts with a key that others can read.
func TestOpenFilesAreTold(t *testing.T) {
	t.Parallel()
	const told = "file with secrets can be read by others"
	for name, tt := range map[string]struct {
		mode    os.FileMode
		baseURL string
		want    int
	}{
		"SL-06 its owner's alone":         {0o600, "https://app.example.com", 0},
		"SL-06 its group's":               {0o640, "https://app.example.com", 1},
		"SL-06 readable by everyone":      {0o604, "https://app.example.com", 1},
		"SL-06 on a machine of one's own": {0o644, "http://localhost:3000", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := filepath.Join(t.TempDir(), "key.pem")
			if err := os.WriteFile(key, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(key, tt.mode); err != nil {
				t.Fatal(err)
			}
			a := &apptest.App{T: t, Log: apptest.NewLog()}
			cfg := &app.Config{CallbackURL: tt.baseURL + "/callback", DataDir: t.TempDir(), LogFormat: "json"}
			cfg.SetProvider(app.ProviderConfig{SigningKey: key})
			cfg.WarnOfOpenFiles(app.NewLogger(cfg, a.Log, nil))
			if lines := a.Logged(told, ""); len(lines) != tt.want || tt.want == 1 && (lines[0]["file"] != key || lines[0]["level"] != "WARN") {
				t.Errorf("the log says %v", lines)
			}
		})
	}
}

// TestWhatIsWrittenIsTheOwners (SL-08) checks the mode of every file that the program
// creates.
func TestWhatIsWrittenIsTheOwners(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	a.Visitor().SignIn("/login", apptest.Ada)
	files := 0
	err := filepath.WalkDir(a.DataDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if files++; err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("SL-08: %s has mode %v", entry.Name(), info.Mode())
		}
		return err
	})
	if err != nil || files < 2 {
		t.Errorf("%d files were found: %v", files, err)
	}
}
