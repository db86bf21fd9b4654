//go:build race

package authn_test

// raceDetector says that everything takes ten times as long.
const raceDetector = true
