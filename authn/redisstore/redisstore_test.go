package redisstore_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"strconv"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/redisstore"
	"latchkey/authn/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	storetest.Run(t, func(t *testing.T) authn.Store { return openClocked(t, srv) })
}

// clocked is a store whose Sweep advances the server's time. The suite's times are in 2040,
// but the server has its own clock. Sweep drops what the server would have dropped by then,
// according to the expiry that the store set.
type clocked struct {
	*redisstore.Store
	srv    *server
	prefix string
}

func openClocked(t *testing.T, srv *server) clocked {
	t.Helper()
	prefix := rand.Text() + ":"
	return clocked{open(t, srv.url+"?prefix="+prefix), srv, prefix}
}

func (c clocked) Sweep(ctx context.Context, now time.Time) (int, error) {
	if n, err := c.Store.Sweep(ctx, now); n != 0 || err != nil {
		return n, err
	}
	const drop = `
local records, cursor = 0, '0'
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', ARGV[1] .. '*', 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local expires = redis.call('PEXPIRETIME', key)
    if expires < 0 then return redis.error_reply('for ever: ' .. key) end
    if expires <= tonumber(ARGV[2]) then
      if redis.call('TYPE', key).ok == 'hash' then records = records + redis.call('HEXISTS', key, 'version') end
      redis.call('DEL', key)
    end
  end
until cursor == '0'
return records`
	// A server reports the keys that it drops, but a moment later.
	defer c.Store.Forget()
	n, err := c.srv.admin.Do(ctx, c.srv.admin.B().Eval().Script(drop).Numkeys(0).Arg(c.prefix, strconv.FormatInt(now.UnixMilli(), 10)).Build()).AsInt64()
	return int(n), err
}

// newRecord returns a session of the same owner each time, with a new key.
func newRecord(sealed int) authn.Record {
	id := rand.Text()
	return authn.Record{
		Key:             authn.NewKey("session", id),
		Owner:           authn.NewKey("owner", "https://id.example/", "ada"),
		ProviderSession: authn.NewKey("provider session", "https://id.example/", id),
		Device:          "Firefox on Linux",
		SignedIn:        time.Now(),
		LastSeen:        time.Now(),
		Expires:         time.Now().Add(time.Hour),
		Sealed:          bytes.Repeat([]byte{0xa5}, sealed),
	}
}
