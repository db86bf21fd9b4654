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

var errPlain = errors.New("redis:// to another machine would expose every session to the network: use rediss://, or add insecure=true if the network itself is encrypted")

// Options describe the server and how to connect to it.
type Options struct {
	// CacheBytes is the approximate size limit of the cache of records. Zero means 64 MB.
	CacheBytes int

	client   rueidis.ClientOption
	prefix   string
	socket   bool // the address is a path
	insecure bool // allow plain text to other machines
	limits   limits
}

// Format implements fmt.Formatter. It hides the options, which contain a password.
func (Options) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[hidden]") }

// ParseURL parses a URL of one of the forms
//
//	redis://USER:PASSWORD@HOST:PORT/DATABASE
//	rediss://...                      with TLS
//	unix://USER:PASSWORD@/PATH?db=DATABASE
//
// with these parameters
//
//	addr                 another node of a cluster, or another sentinel; repeatable
//	master_set           the name of the primary that the sentinels watch
//	sentinel_username, sentinel_password
//	                     the credentials for the sentinels
//	prefix               the prefix of key names; the default is latchkey:
//	insecure=true        allows redis:// to another machine
//
// The store finds the other nodes of a cluster through the named ones. Errors do not quote the
// URL, because a password might be anywhere in it.
func ParseURL(raw string) (*Options, error) {
	u, err := url.Parse(raw)
	if err != nil || strings.ContainsAny(u.Path+u.RawQuery+u.Fragment, "@") || u.Opaque != "" || u.Fragment != "" {
		return nil, errors.New("is not a valid URL; write special characters of a password as %40 for @, %2F for /, %23 for #, %25 for %")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("has invalid parameters")
	}
	o := &Options{prefix: defaultPrefix, limits: defaultLimits()}
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
		// Leave ServerName empty, so that each node's certificate is checked against that
		// node's name.
		o.client.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		o.client.Sentinel.TLSConfig = o.client.TLSConfig
	}
	if err := o.readParameters(query, &database); err != nil {
		return nil, err
	}
	if o.client.SelectDB, err = strconv.Atoi("0" + database); err != nil {
		return nil, errors.New("has a database that is not a number")
	}
	return o, o.check()
}

// address adds the default host and port if they are missing.
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
			return errors.New("has an unknown parameter; use addr, db, master_set, sentinel_username, sentinel_password, prefix or insecure")
		}
	}
	return nil
}

// check refuses options that cannot work or are unsafe.
func (o *Options) check() error {
	switch {
	case strings.ContainsAny(o.prefix, "{}"):
		return errors.New("has a prefix with a brace; remove it, because a cluster assigns keys to nodes by what is in braces")
	case o.socket && (o.client.InitAddress[0] == "" || len(o.client.InitAddress) > 1):
		return errors.New("must name exactly one socket; write unix:///PATH")
	case len(o.client.InitAddress) > 1 && o.client.Sentinel.MasterSet == "" && o.client.SelectDB != 0:
		return errors.New("names a database and several nodes; remove the database, because a cluster has only database 0")
	case !o.OnThisMachine() && o.client.TLSConfig == nil && !o.insecure:
		return errPlain
	}
	return nil
}

// OnThisMachine reports whether the URL names only this machine.
func (o *Options) OnThisMachine() bool {
	return o.socket || !slices.ContainsFunc(o.client.InitAddress, func(address string) bool { return !onLoopback(address) })
}

func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || (ip != nil && ip.IsLoopback()))
}

// dial connects to an address. It checks the address again, because a cluster or a sentinel
// may name machines that the URL does not.
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
