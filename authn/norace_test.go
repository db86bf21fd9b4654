//go:build !race

package authn_test

// raceDetector reports whether the race detector runs, which makes everything ten times as
// slow.
const raceDetector = false
