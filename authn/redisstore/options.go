package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

const (
	defaultPrefix = "latchkey:"
	defaultPort   = "6379"
)

var errPlain = errors.New("plain redis:// to another machine would show every session to the network: use rediss://, or add insecure=true where the network itself is encrypted")

// Options say where the server is and how to talk to it.
type Options struct {
	client   rueidis.ClientOption
	prefix   string
	socket   bool // the address is a path
	insecure bool // plain text to other machines, by intent
}

// Format implements fmt.Formatter for every verb: there is a password in it.
func (Options) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[hidden]") }

// ParseURL reads one of
//
//	redis://USER:PASSWORD@HOST:PORT/DATABASE
//	rediss://...                      with TLS
//	unix://USER:PASSWORD@/PATH?db=DATABASE
//
// and of its parameters
//
//	addr                 another node of a cluster, or another sentinel; repeatable
//	master_set           the name of the primary that the sentinels watch
//	sentinel_username, sentinel_password
//	                     what the sentinels ask for
//	prefix               what the names of keys begin with, if not latchkey:
//	insecure=true        allows redis:// to another machine than this one
//
// The other nodes of a cluster are found through those that are named. No error quotes
// any part of the URL, since a password might be misplaced in it.
func ParseURL(raw string) (*Options, error) {
	u, err := url.Parse(raw)
	if err != nil || strings.ContainsAny(u.Path+u.RawQuery+u.Fragment, "@") || u.Opaque != "" || u.Fragment != "" {
		return nil, errors.New("is no URL that can be read; write special characters of a password as %40 for @, %2F for /, %23 for #, %25 for %")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("has parameters that cannot be read")
	}
	o := &Options{prefix: defaultPrefix}
	o.client.ClientName = "latchkey"
	o.client.Username = u.User.Username()
	o.client.Password, _ = u.User.Password()
	database := strings.TrimPrefix(u.Path, "/")
	switch u.Scheme {
	case "redis", "rediss":
		o.client.InitAddress = []string{address(u.Host)}
	case "unix":
		o.socket, database = true, ""
		o.client.InitAddress = []string{u.Path}
	default:
		return nil, errors.New("does not begin with redis://, rediss:// or unix://")
	}
	if u.Scheme == "rediss" {
		// Without a name in it, each node's certificate is checked against its own.
		o.client.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		o.client.Sentinel.TLSConfig = o.client.TLSConfig
	}
	if err := o.readParameters(query, &database); err != nil {
		return nil, err
	}
	if o.client.SelectDB, err = strconv.Atoi("0" + database); err != nil {
		return nil, errors.New("has a database that is no number")
	}
	return o, o.check()
}

// address adds what is left out of a host and port.
func address(hostport string) string {
	u := url.URL{Host: hostport}
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		port = defaultPort
	}
	return net.JoinHostPort(host, port)
}

func (o *Options) readParameters(query url.Values, database *string) error {
	for name, values := range query {
		value := values[0]
		switch name {
		case "addr":
			for _, host := range values {
				o.client.InitAddress = append(o.client.InitAddress, address(host))
			}
		case "db":
			*database = value
		case "master_set":
			o.client.Sentinel.MasterSet = value
		case "sentinel_username":
			o.client.Sentinel.Username = value
		case "sentinel_password":
			o.client.Sentinel.Password = value
		case "prefix":
			o.prefix = value
		case "insecure":
			o.insecure = value == "true"
		default:
			return errors.New("has a parameter that is none of addr, db, master_set, sentinel_username, sentinel_password, prefix, insecure")
		}
	}
	return nil
}

// check refuses what cannot work, and what nobody should want.
func (o *Options) check() error {
	switch {
	case strings.ContainsAny(o.prefix, "{}"):
		return errors.New("has a prefix with a brace, which would decide where a cluster keeps things")
	case o.socket && (o.client.InitAddress[0] == "" || len(o.client.InitAddress) > 1):
		return errors.New("names no socket, or more than one; write unix:///PATH")
	case len(o.client.InitAddress) > 1 && o.client.Sentinel.MasterSet == "" && o.client.SelectDB != 0:
		return errors.New("names a database, and several nodes; a cluster has no databases")
	case !o.OnThisMachine() && o.client.TLSConfig == nil && !o.insecure:
		return errPlain
	}
	return nil
}

// OnThisMachine reports whether the URL names this machine and nothing else.
func (o *Options) OnThisMachine() bool {
	return o.socket || !slices.ContainsFunc(o.client.InitAddress, func(address string) bool { return !onLoopback(address) })
}

func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || (ip != nil && ip.IsLoopback()))
}

// dial makes a connection. It looks at the address once more: a cluster or a sentinel
// may name other machines than the URL does.
func (o *Options) dial(ctx context.Context, address string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
	switch {
	case o.socket:
		return dialer.DialContext(ctx, "unix", address)
	case config != nil:
		return (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", address)
	case !o.insecure && !onLoopback(address):
		return nil, errPlain
	}
	return dialer.DialContext(ctx, "tcp", address)
}
