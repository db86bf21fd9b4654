package routes

import (
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// peer returns the address at the other end of a request's connection.
func peer(r *http.Request) (netip.Addr, bool) {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	return address.Addr().Unmap().WithZone(""), err == nil
}

// trusts reports whether an address is that of a trusted proxy.
func (a *App) trusts(address netip.Addr) bool {
	return slices.ContainsFunc(a.TrustedProxies, func(proxies netip.Prefix) bool { return proxies.Contains(address) })
}

// clientAddress returns the address of a request's client: the peer's, unless the peer is a trusted
// proxy that forwards another. Each proxy adds the address that it was called from at the end of
// X-Forwarded-For, so an entry counts only if a trusted proxy has added it. An entry that is not
// an address, such as "unknown", ends the search: the client may have sent it and those before it.
func (a *App) clientAddress(r *http.Request) string {
	client, ok := peer(r)
	if !ok || !a.trusts(client) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		return host
	}
	for forwarded := strings.Join(r.Header["X-Forwarded-For"], ","); forwarded != "" && a.trusts(client); {
		comma := strings.LastIndexByte(forwarded, ',')
		before, ok := parseForwarded(forwarded[comma+1:])
		if !ok {
			break
		}
		client, forwarded = before, forwarded[:max(comma, 0)]
	}
	return client.String()
}

// parseForwarded returns the address in an entry of X-Forwarded-For. Some proxies add the client's
// port, as Azure's gateways do, write IPv6 in brackets, or use the quotes of Forwarded (RFC 7239
// section 6). Without brackets, a colon and up to four digits after an IPv6 address with :: are a
// part of it.
func parseForwarded(entry string) (netip.Addr, bool) {
	entry = textproto.TrimString(entry)
	if len(entry) >= 2 && entry[0] == '"' && entry[len(entry)-1] == '"' {
		entry = entry[1 : len(entry)-1]
	}
	address, err := netip.ParseAddr(entry)
	if err != nil {
		if colon := strings.LastIndexByte(entry, ':'); colon >= 0 && isPort(entry[colon+1:]) {
			entry = entry[:colon]
		}
		inner, opened := strings.CutPrefix(entry, "[")
		inner, closed := strings.CutSuffix(inner, "]")
		address, err = netip.ParseAddr(inner)
		if opened != closed || opened && address.Is4() {
			return netip.Addr{}, false
		}
	}
	return address.Unmap().WithZone(""), err == nil
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// requestedHost returns the host that a request is for, without the default port of the app's scheme:
// with it, the origin is the same (RFC 6454 section 4). Tunnels and some proxies put their own idea
// into Host and the client's into X-Forwarded-Host, which counts only from a trusted proxy. If there
// are several, the first is the client's.
func (a *App) requestedHost(r *http.Request) string {
	host := r.Host
	if forwarded := r.Header.Get("X-Forwarded-Host"); forwarded != "" {
		if address, ok := peer(r); ok && a.trusts(address) {
			host, _, _ = strings.Cut(forwarded, ",")
			host = textproto.TrimString(host)
		}
	}
	if a.BaseURL.Scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}
