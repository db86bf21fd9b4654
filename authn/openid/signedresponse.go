package openid

import (
	"context"
	"net/url"
)

// responseParameters are the parameters of an authorization response that this client reads (RFC 6749
// section 4.1.2, RFC 9207 section 2).
var responseParameters = []string{"state", "code", "iss", "error", "error_description"}

// openResponse returns the parameters of a signed authorization response (JARM section 2.4). It refuses
// a response that also has parameters outside the JWT, because nothing authenticates them.
func (p *Provider) openResponse(ctx context.Context, parameters url.Values) (url.Values, error) {
	for _, name := range responseParameters {
		if parameters.Has(name) {
			return nil, refuse(ReasonResponseMalformed, "%s is outside of the signed response", name)
		}
	}
	if len(parameters["response"]) != 1 {
		return nil, refuse(ReasonResponseMalformed, "there must be exactly one signed response")
	}
	t, err := p.verify(ctx, parameters.Get("response"), p.responses)
	if err != nil {
		return nil, err
	}
	signed := make(url.Values)
	for _, name := range responseParameters {
		value, err := t.claims.string(name)
		if err != nil {
			return nil, withReason(ReasonResponseInvalid, err)
		}
		if value != "" {
			signed.Set(name, value)
		}
	}
	return signed, nil
}
