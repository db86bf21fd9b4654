package authn

import "net"

// IsLoopback reports whether a host, without a port, names this machine and nothing
// else: localhost, 127.0.0.0/8 or ::1. Plain http is allowed there alone.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
