package authn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
)

// explain says why an endpoint could not be asked, or gave no answer that is one. remedy
// is for what is the provider's own.
func (e *Examination) explain(what string, err error, remedy string) Finding {
	if finding, ok := explainConnection(what, err); ok {
		return finding
	}
	if status, ok := statusOf(err); ok {
		return failed(SideProvider, fmt.Sprintf("%s answered %d %s", what, status, http.StatusText(status)), joined(remedy, "if it stays, the provider's log says more"))
	}
	return failed(SideProvider, fmt.Sprintf("%s: %s", what, plain(err)), joined(remedy, "if it stays, the provider's log says more"))
}

// explainDiscovery says whether there is no provider at an issuer, or one that does not
// answer now.
func (e *Examination) explainDiscovery(address string, err error) Finding {
	if finding, ok := explainConnection(address, err); ok {
		return finding
	}
	remedy := joined(e.rp.preset.hint, "spell the issuer as the provider does: its discovery document is at the issuer with /.well-known/openid-configuration behind it")
	status, answered := statusOf(err)
	switch {
	case answered && permanent(err):
		return failed(SideConfiguration, fmt.Sprintf("%s answered %d %s", address, status, http.StatusText(status)), remedy)
	case answered:
		return failed(SideProvider, fmt.Sprintf("%s answered %d %s", address, status, http.StatusText(status)), "ask again later; if it stays, the provider's log says more")
	case ReasonOf(err) == ReasonProviderMisconfigured:
		return failed(SideConfiguration, address+" is no discovery document", remedy)
	}
	return failed(SideProvider, plain(err), remedy)
}

// explainConnection says what stands between here and the provider, if something does.
func explainConnection(what string, err error) (Finding, bool) {
	network := func(found, remedy string) (Finding, bool) {
		return failed(SideNetwork, what+": "+found, remedy), true
	}
	if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		return network(fmt.Sprintf("the name %q is not known here", unknown.Name), "spell the host as the provider does; if it is right, this machine's name resolution fails")
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return network("its certificate is of an authority that this machine does not trust",
			"give this machine the authority's certificate (SSL_CERT_FILE can name a PEM file with it), or the provider a public one")
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return network("its certificate is another host's", "spell the host as the provider does; if it is right, something else answers in its place")
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if invalid.Reason == x509.Expired {
			return network("its certificate has expired, or is not valid yet", "compare this machine's clock; if it is right, the certificate has to be renewed")
		}
		return network("its certificate is not valid", "the provider needs another certificate")
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return network("it answers without TLS", "see whether the port is that of https")
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || timedOut(err) {
		return network(fmt.Sprintf("no answer within %s", callTimeout), "see whether a firewall or a proxy stands between, and whether the provider is up; a sign-in would not wait longer")
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return network("nothing listens there", "see whether the provider is up, and spell host and port as it does")
	}
	if failure, ok := errors.AsType[*net.OpError](err); ok {
		return network(failure.Op+" failed", "see whether this machine has a way to the provider: a route, a proxy, a firewall's leave")
	}
	return Finding{}, false
}

func timedOut(err error) bool {
	failure, ok := errors.AsType[net.Error](err)
	return ok && failure.Timeout()
}

// statusOf returns the status of an answer that was of another than it must be.
func statusOf(err error) (int, bool) {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.status, true
	}
	return 0, false
}

// plain is what an error says without the words for a log.
func plain(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Err != nil {
		err = e.Err
	}
	return strings.TrimPrefix(err.Error(), "authn: ")
}

// joined joins the sentences of a remedy.
func joined(parts ...string) string {
	var list []string
	for _, part := range parts {
		if part != "" {
			list = append(list, part)
		}
	}
	return strings.Join(list, "; ")
}
