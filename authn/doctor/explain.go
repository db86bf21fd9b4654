package doctor

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

	"latchkey/authn/openid"
)

// explain says why an endpoint could not be asked, or did not answer as it should. remedy is for
// a fault of the provider's own.
func (e *Examination) explain(what string, err error, remedy string) Finding {
	if finding, ok := explainConnection(what, err); ok {
		return finding
	}
	if status, ok := statusOf(err); ok {
		return failed(Provider, fmt.Sprintf("%s answered %d %s", what, status, http.StatusText(status)), joined(remedy, "if it persists, see the provider's log"))
	}
	return failed(Provider, fmt.Sprintf("%s: %s", what, plain(err)), joined(remedy, "if it persists, see the provider's log"))
}

// explainDiscovery distinguishes an issuer without a provider from a provider that does not
// answer now.
func (e *Examination) explainDiscovery(address string, err error) Finding {
	if finding, ok := explainConnection(address, err); ok {
		return finding
	}
	remedy := joined(e.provider.Preset().Hint, "spell the issuer as the provider does: its discovery document is at the issuer with /.well-known/openid-configuration behind it")
	status, answered := statusOf(err)
	switch redirect, _ := errors.AsType[*openid.StatusError](err); {
	case answered && redirect.Location != "":
		return explainRedirect(address, redirect)
	case answered && openid.ReasonOf(err) == openid.ReasonProviderMisconfigured:
		return failed(Configuration, fmt.Sprintf("%s answered %d %s", address, status, http.StatusText(status)), remedy)
	case answered:
		return failed(Provider, fmt.Sprintf("%s answered %d %s", address, status, http.StatusText(status)), "ask again later; if it persists, see the provider's log")
	case openid.ReasonOf(err) == openid.ReasonProviderMisconfigured:
		return failed(Configuration, fmt.Sprintf("%s is no discovery document: %v", address, cause(err)), remedy)
	}
	return failed(Provider, plain(err), remedy)
}

// explainRedirect says where the provider moved to. Sign-ins follow a redirect only on the origin
// that the issuer names.
func explainRedirect(address string, redirect *openid.StatusError) Finding {
	found := fmt.Sprintf("%s answered %d %s and leads to %.200q", address, redirect.Status, http.StatusText(redirect.Status), redirect.Location)
	if issuer, ok := strings.CutSuffix(redirect.Location, "/.well-known/openid-configuration"); ok {
		return failed(Configuration, found,
			fmt.Sprintf("if that is the provider, set OIDC_ISSUER (or AUTH0_DOMAIN) to the issuer that the document there names, which should be %.200q", issuer))
	}
	return failed(Configuration, found,
		"open that address: if the provider is there, set OIDC_ISSUER (or AUTH0_DOMAIN) to its issuer; if it is a sign-in page, the provider has to serve the document to everyone")
}

// cause returns what is behind the text that discovery adds.
func cause(err error) error {
	if e, ok := errors.AsType[*openid.Error](err); ok && errors.Unwrap(e.Err) != nil {
		return errors.Unwrap(e.Err)
	}
	return err
}

// otherAddress is for a provider that browsers reach, as that of a container is.
const otherAddress = "; if browsers reach it there and this machine does not, set OIDC_BACKCHANNEL_ORIGIN to where this machine does"

// explainConnection says why the connection to the provider fails, and reports false if it does
// not.
func explainConnection(what string, err error) (Finding, bool) {
	network := func(found, remedy string) (Finding, bool) {
		return failed(Network, what+": "+found, remedy), true
	}
	if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		return network(fmt.Sprintf("the name %q is not known here", unknown.Name), "spell the host as the provider does; if it is right, this machine's name resolution fails"+otherAddress)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return network("its certificate is from an authority that this machine does not trust",
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
		return network(fmt.Sprintf("no answer within %s", openid.CallTimeout), "see whether a firewall or a proxy stands between, and whether the provider is up; a sign-in would not wait longer")
	}
	const wsaECONNREFUSED = syscall.Errno(10061) // what Windows returns
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, wsaECONNREFUSED) {
		return network("nothing listens there", "see whether the provider is up, and spell host and port as it does"+otherAddress)
	}
	if failure, ok := errors.AsType[*net.OpError](err); ok {
		return network(failure.Op+" failed", "see whether this machine can reach the provider: check the route, the proxy and the firewall")
	}
	return Finding{}, false
}

func timedOut(err error) bool {
	failure, ok := errors.AsType[net.Error](err)
	return ok && failure.Timeout()
}

// statusOf returns the unexpected status of a response, and reports false for any other error.
func statusOf(err error) (int, bool) {
	if e, ok := errors.AsType[*openid.StatusError](err); ok {
		return e.Status, true
	}
	return 0, false
}

// plain returns an error's text without its reason.
func plain(err error) string {
	if e, ok := errors.AsType[*openid.Error](err); ok && e.Err != nil {
		err = e.Err
	}
	return strings.TrimPrefix(err.Error(), "openid: ")
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
