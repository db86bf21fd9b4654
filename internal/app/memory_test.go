package app_test

import (
	"math"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
)

// TestMemoryLimit (CF-15) sets the memory limit of the Go runtime.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	p := apptest.StartProcess(t, t.TempDir(), "GOMEMLIMIT=512MiB", "OPS_ADDR=127.0.0.1:0", "DEV_PROVIDER_ADDR=127.0.0.1:0")
	metrics := p.Operators().Metrics()
	if got := metrics["go_memlimit_bytes"]; got != 512<<20 {
		t.Errorf("the limit is %v", got)
	}
	if got := metrics["latchkey_session_cache_limit_bytes"]; got != 32<<20 {
		t.Errorf("the limit of the cache is %v", got)
	}
}

// TestCacheBytes (CF-15) sizes a cache by the memory that the program may use.
func TestCacheBytes(t *testing.T) {
	t.Parallel()
	const none, mb = math.MaxInt64, 1 << 20
	unknown := func() (uint64, error) { return 0, memlimit.ErrNoLimit }
	tests := map[string]struct {
		limit             int64
		container, system memlimit.Provider
		want              int
	}{
		"no limit":                            {none, unknown, memlimit.Limit(4096 * mb), 256 * mb},
		"Go's limit is the least":             {512 * mb, memlimit.Limit(1024 * mb), memlimit.Limit(4096 * mb), 32 * mb},
		"the container's limit is the least":  {2048 * mb, memlimit.Limit(1024 * mb), memlimit.Limit(4096 * mb), 64 * mb},
		"the system's memory is the least":    {8192 * mb, memlimit.Limit(8192 * mb), memlimit.Limit(4096 * mb), 256 * mb},
		"GOMEMLIMIT=off in a container":       {none, memlimit.Limit(1024 * mb), memlimit.Limit(4096 * mb), 64 * mb},
		"a low limit":                         {64 * mb, unknown, memlimit.Limit(4096 * mb), 16 * mb},
		"much memory":                         {none, unknown, memlimit.Limit(1 << 20 * mb), math.MaxInt32},
		"a limit, and unknown system memory":  {512 * mb, unknown, unknown, 32 * mb},
		"no limit, and unknown system memory": {none, unknown, unknown, 0},
		"a limit beyond any memory":           {none, memlimit.Limit(math.MaxUint64), unknown, 0},
	}
	for name, tt := range tests {
		if got := app.CacheBytes(tt.limit, tt.container, tt.system); got != tt.want {
			t.Errorf("%s: %d MB, want %d", name, got/mb, tt.want/mb)
		}
	}
}
