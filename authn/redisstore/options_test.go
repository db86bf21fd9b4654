package redisstore_test

import (
	"fmt"
	"strings"
	"testing"

	"latchkey/authn/redisstore"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, url string
		want      string // a part of the error; "" accepts
		elsewhere bool   // names another machine
	}{
		{name: "this machine", url: "redis://localhost:6379"},
		{name: "no port", url: "redis://127.0.0.1"},
		{name: "IPv6", url: "redis://[::1]:6379/2"},
		{name: "user and password", url: "redis://ada:p%40ss@127.0.0.1:6379/0"},
		{name: "TLS", url: "rediss://:marked@store.example:6380/1", elsewhere: true},
		{name: "a socket", url: "unix:///run/redis/redis.sock"},
		{name: "a socket with everything", url: "unix://ada:marked@/run/redis.sock?db=3&prefix=app:"},
		{name: "a cluster", url: "rediss://a.example:6379?addr=b.example:6379&addr=c.example", elsewhere: true},
		{name: "sentinels", url: "rediss://a.example:26379/4?addr=b.example:26379&master_set=main&sentinel_username=x&sentinel_password=marked", elsewhere: true},
		{name: "CF-11 plain text, explicitly allowed", url: "redis://store.example:6379?insecure=true", elsewhere: true},

		{name: "CF-11 plain text to another machine", url: "redis://:marked@store.example:6379", want: "rediss://, or add insecure=true"},
		{name: "CF-11 plain text to one of several", url: "redis://localhost:6379?addr=store.example:6379", want: "rediss://, or add insecure=true"},
		{name: "CF-11 another spelling of true", url: "redis://store.example:6379?insecure=yes", want: "rediss://, or add insecure=true"},
		{name: "CF-11 a name that resembles this machine", url: "redis://localhost.example:6379", want: "rediss://, or add insecure=true"},
		{name: "another scheme", url: "postgres://:marked@localhost", want: "does not begin with"},
		{name: "no scheme", url: "localhost:6379", want: "not a valid URL"},
		{name: "a slash in the password", url: "redis://:mar/marked@localhost:6379", want: "%2F"},
		{name: "a hash in the password", url: "redis://:mar#marked@localhost:6379", want: "%23"},
		{name: "a slash in a password that begins like a port", url: "redis://ada:12/marked@localhost:6379", want: "%2F"},
		{name: "a question mark in the password", url: "redis://ada:12?marked@localhost:6379", want: "not a valid URL"},
		{name: "a percent sign in the password", url: "redis://:mar%marked@localhost:6379", want: "%25"},
		{name: "a database that is not a number", url: "redis://localhost:6379/marked", want: "database"},
		{name: "two databases", url: "redis://localhost:6379/1/2", want: "database"},
		{name: "a database below zero", url: "redis://localhost:6379/-1", want: "database"},
		{name: "a database of a cluster", url: "redis://localhost:1/3?addr=localhost:2", want: "database"},
		{name: "an unknown parameter", url: "redis://localhost:6379?protocol=2", want: "parameter"},
		{name: "certificates not checked", url: "rediss://localhost:6379?skip_verify=true", want: "parameter"},
		{name: "an invalid parameter", url: "redis://localhost:6379?prefix=%zz", want: "parameters"},
		{name: "a brace in the prefix", url: "redis://localhost:6379?prefix={marked}", want: "brace"},
		{name: "a socket without a path", url: "unix://", want: "socket"},
		{name: "two sockets", url: "unix:///a?addr=b", want: "socket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			options, err := redisstore.ParseURL(c.url)
			if c.want == "" {
				must(t, err)
				if options.OnThisMachine() == c.elsewhere {
					t.Errorf("on this machine: %v", options.OnThisMachine())
				}
				if s := fmt.Sprintf("%v %+v %#v", options, *options, options); strings.Contains(s, "marked") {
					t.Errorf("SL-06: the options print as %s", s)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got error %v, want one with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "marked") || strings.Contains(err.Error(), "mar/") {
				t.Errorf("SL-01: the error quotes a password: %v", err)
			}
		})
	}
}
