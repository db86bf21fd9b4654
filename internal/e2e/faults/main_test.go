package faults

import (
	"crypto/rand"
	"os"
	"testing"

	"latchkey/internal/apptest"
)

func TestMain(m *testing.M) {
	if server := os.Getenv(nameServer); server != "" {
		askNameServer(server)
	}
	if sign := os.Getenv(entropyEnds); sign != "" {
		rand.Reader = &failingEntropy{sign, rand.Reader}
	}
	apptest.Main(m)
}
