package app

import (
	"errors"
	"log/slog"
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// cacheDivisor is the part of the memory that a cache may take: a sixteenth. There is one of opened
	// sessions and, with Redis, one of records. Garbage can double this until it is collected.
	cacheDivisor = 16
	// minCacheBytes and maxCacheBytes are the least and the greatest size limit of a cache.
	minCacheBytes, maxCacheBytes = 16 << 20, math.MaxInt32
)

// limitMemory sets Go's memory limit to 90 % of the limit of this process's control group, such as a container,
// unless GOMEMLIMIT is set. It returns the size limit of a cache in bytes.
func limitMemory(log *slog.Logger) int {
	limit, err := memlimit.Set()
	if err != nil && !errors.Is(err, memlimit.ErrCgroupsNotSupported) && !errors.Is(err, memlimit.ErrNoCgroup) {
		log.Warn("memory limit of the container not applied; set GOMEMLIMIT", "error", err)
	}
	return cacheBytes(limit, memlimit.FromCgroup, memlimit.FromSystem)
}

// cacheBytes returns the size limit of a cache: its part of Go's memory limit or of what one of the sources says,
// whichever is least. Go's limit is math.MaxInt64 if there is none. The result is zero if nothing is known.
func cacheBytes(limit int64, sources ...memlimit.Provider) int {
	for _, source := range sources {
		if bytes, err := source(); err == nil {
			limit = min(limit, int64(min(bytes, math.MaxInt64)))
		}
	}
	if limit == math.MaxInt64 {
		return 0
	}
	return int(min(max(minCacheBytes, limit/cacheDivisor), maxCacheBytes))
}
