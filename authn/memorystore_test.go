package authn_test

import (
	"testing"

	"latchkey/authn"
	"latchkey/authn/storetest"
)

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) authn.Store { return authn.NewMemoryStore() })
}
