package app

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"latchkey/authn"
	"latchkey/authn/boltstore"
	"latchkey/authn/doctor"
	"latchkey/authn/redisstore"
)

// expirySoon is how long before its expiry a certificate gets a warning.
const expirySoon = 14 * 24 * time.Hour

// machineChecks returns the checks of everything that the app needs besides its provider.
func (c *Config) machineChecks() []doctor.Check {
	return []doctor.Check{
		{Name: "secret_key", Run: c.checkSecretKey},
		{Name: "port", Run: c.checkPort},
		{Name: "https", Run: c.checkHTTPS},
		{Name: "proxies", Run: c.checkProxies},
		{Name: "cookies", Run: c.checkCookies},
		{Name: "store", Run: c.checkStore},
	}
}

func good(format string, args ...any) doctor.Finding {
	return doctor.Finding{Verdict: doctor.OK, Found: fmt.Sprintf(format, args...)}
}

func bad(verdict doctor.Verdict, side doctor.Side, found, remedy string) doctor.Finding {
	return doctor.Finding{Verdict: verdict, Side: side, Found: found, Remedy: remedy}
}

// checkSecretKey examines the stored key, and creates none. LoadConfig has already checked a
// configured key.
func (c *Config) checkSecretKey(context.Context) doctor.Finding {
	if secrets := c.secrets(); len(secrets) > 0 {
		return good("APP_SECRET_KEY: %d key(s) of at least %d bytes, no placeholder", len(secrets), authn.MinSecretBytes)
	}
	path := c.secretPath()
	_, err := readSecret(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return good("will be created in %s at the first start", path)
	case err != nil:
		return bad(doctor.Failed, doctor.Machine, err.Error(), "let the program read "+path+", or set APP_SECRET_KEY")
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return bad(doctor.Warning, doctor.Machine, fmt.Sprintf("others can read %s (mode %#o)", path, info.Mode().Perm()), "run chmod 600 on it")
	}
	return good("kept in %s", path)
}

// listenAddress is an address that the program listens on, with the variables that set it.
type listenAddress struct {
	address, hostVariable, portVariable string
	free                                []string // further hosts, as in bind
}

func (c *Config) listenAddresses() []listenAddress {
	list := []listenAddress{{c.listenAddr(), "LISTEN_ADDR", "PORT", c.otherLocalhosts()}}
	if c.OpsAddr != "" {
		list = append(list, listenAddress{c.OpsAddr, "OPS_ADDR", "OPS_ADDR", nil})
	}
	if c.MutualTLSAddr != "" {
		list = append(list, listenAddress{c.MutualTLSAddr, "MTLS_ADDR", "MTLS_ADDR", nil})
	}
	if c.development() && developmentProviderIncluded {
		for n := range c.providers {
			list = append(list, listenAddress{c.devProviderAddr(n), "DEV_PROVIDER_ADDR", "DEV_PROVIDER_ADDR", nil})
		}
	}
	return list
}

// checkPort tries to listen. If the app's own port is taken, it asks whether an app has it.
func (c *Config) checkPort(ctx context.Context) doctor.Finding {
	var free []string
	for _, listen := range c.listenAddresses() {
		host, port, err := net.SplitHostPort(listen.address)
		if err == nil && port == "0" {
			continue
		}
		listeners, err := bind(ctx, listen.address, listen.free)
		address := fmt.Sprintf("port %s of %s", port, cmp.Or(host, "all interfaces"))
		switch {
		case err == nil:
			closeAll(listeners) // nobody has connected to them
			free = append(free, address+" is free")
		case isAddressInUse(err):
			if answer, err := c.askApp(ctx, "/healthz"); err == nil && strings.Contains(answer, `"status":"ok"`) {
				return good("this app already listens on %s", address)
			}
			return bad(doctor.Failed, doctor.Machine, "another program has "+taken(err, listen.address), "stop it, or choose another "+listen.portVariable)
		case isAccessDenied(err):
			return bad(doctor.Failed, doctor.Machine, "this user may not listen on "+address, "choose a port of 1024 or more for "+listen.portVariable+", or give the program the right to")
		default:
			return bad(doctor.Failed, doctor.Configuration, "cannot listen on "+address, listen.hostVariable+" has to be an address of this machine")
		}
	}
	return good("%s", cmp.Or(strings.Join(free, ", "), "any that is free"))
}

// checkHTTPS examines how connections are encrypted.
func (c *Config) checkHTTPS(context.Context) doctor.Finding {
	base := c.BaseURL(c.Port)
	switch {
	case c.parsedCertificate != nil:
		return checkCertificate(c.parsedCertificate, base.Hostname())
	case base.Scheme == "https":
		return good("a proxy in front of the app has to serve %s", base)
	}
	return good("plain http, on this machine only: %s", base)
}

// checkClientCertificate examines a certificate that the app presents (RFC 8705).
func checkClientCertificate(leaf *x509.Certificate) doctor.Finding {
	if finding, expires := checkExpiry(leaf, "the client certificate"); expires {
		return finding
	}
	return good("%s, until %s", leaf.Subject, leaf.NotAfter.Format(time.DateOnly))
}

// checkExpiry reports whether a certificate has expired, or is about to.
func checkExpiry(leaf *x509.Certificate, name string) (doctor.Finding, bool) {
	const remedy = "renew it; the app notices its new files by itself"
	until, now := leaf.NotAfter.Format(time.DateOnly), time.Now()
	switch {
	case now.After(leaf.NotAfter) || now.Before(leaf.NotBefore):
		return bad(doctor.Failed, doctor.Configuration, name+" has expired, or is not valid yet (until "+until+")", remedy), true
	case leaf.NotAfter.Sub(now) < expirySoon:
		return bad(doctor.Warning, doctor.Configuration, name+" expires on "+until, remedy), true
	}
	return doctor.Finding{}, false
}

func checkCertificate(leaf *x509.Certificate, host string) doctor.Finding {
	if leaf.VerifyHostname(host) != nil {
		return bad(doctor.Failed, doctor.Configuration, "the certificate is not for "+host, "get one for the host of AUTH0_CALLBACK_URL")
	}
	if finding, expires := checkExpiry(leaf, "the certificate"); expires {
		return finding
	}
	return good("the app serves it, with a certificate for %s until %s", host, leaf.NotAfter.Format(time.DateOnly))
}

// checkProxies compares the proxies that the app trusts with those that it seems to have.
func (c *Config) checkProxies(context.Context) doctor.Finding {
	base := c.BaseURL(c.Port)
	everyone := slices.ContainsFunc(c.TrustedProxies, func(cidr string) bool { return strings.HasSuffix(cidr, "/0") })
	switch {
	case everyone:
		return bad(doctor.Warning, doctor.Configuration, "TRUSTED_PROXIES trusts every address: any client can claim any address",
			"name the networks of the proxies alone")
	case len(c.TrustedProxies) > 0:
		return good("X-Forwarded-For and X-Forwarded-Host count from %s", strings.Join(c.TrustedProxies, ", "))
	case base.Scheme == "https" && c.TLSCertFile == "":
		return bad(doctor.Warning, doctor.Configuration, "the app needs a proxy in front of it for https, and TRUSTED_PROXIES names none: every client seems to come from the proxy",
			"set TRUSTED_PROXIES to the proxy's network, and have it pass the Host header on; or set TLS_CERT_FILE and TLS_KEY_FILE")
	}
	return good("none is trusted, none is needed")
}

// checkCookies reports the cookie attributes that follow from the base URL.
func (c *Config) checkCookies(context.Context) doctor.Finding {
	if c.BaseURL(c.Port).Scheme != "https" {
		return good("HttpOnly, SameSite=Lax, without Secure: for plain http on this machine")
	}
	if slices.ContainsFunc(c.providers, func(p *provider) bool { return strings.HasPrefix(p.ResponseMode, "form_post") }) {
		return good("__Host-, Secure, HttpOnly, SameSite=Lax; during a sign-in SameSite=None, for form_post")
	}
	return good("__Host-, Secure, HttpOnly, SameSite=Lax")
}

// checkStore reports whether sessions can be stored.
func (c *Config) checkStore(ctx context.Context) doctor.Finding {
	switch {
	case c.parsedRedis != nil:
		return c.checkRedis(ctx)
	case c.SessionStore == "memory":
		return good("memory: everyone is signed out when the app stops")
	}
	path := filepath.Join(c.DataDir, "sessions.db")
	found, err := boltstore.Check(ctx, path)
	fault, ok := errors.AsType[*boltstore.Error](err)
	switch {
	case errors.Is(err, boltstore.ErrHeld):
		return good("%s is in use, as it is while the app runs", path)
	case ok:
		return bad(doctor.Failed, doctor.Machine, fault.Problem, fault.Remedy)
	case errors.Is(err, fs.ErrPermission):
		return bad(doctor.Failed, doctor.Machine, "this user may not use "+path, "give DATA_DIR and its files to the user that the app runs as, or name another directory")
	case err != nil:
		return bad(doctor.Failed, doctor.Machine, err.Error(), "remove the cause, or name another directory in DATA_DIR")
	case !found:
		return good("%s can be created", path)
	}
	return good("%s can be read and written", path)
}

func (c *Config) checkRedis(ctx context.Context) doctor.Finding {
	store, err := redisstore.Open(ctx, c.parsedRedis, slog.New(slog.DiscardHandler))
	if err != nil {
		return bad(doctor.Failed, doctor.Configuration, "the Redis server refuses the app: "+err.Error(), "see user, password, database and TLS in SESSION_STORE")
	}
	err = errors.Join(store.Ping(ctx), store.Close())
	if err != nil {
		return bad(doctor.Failed, doctor.Network, "the Redis server cannot be written to: "+err.Error(), "see whether it runs, and whether SESSION_STORE names its host and port")
	}
	return good("the Redis server answers, and can be written to")
}
