package openid

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// tenantID stands for the id of a tenant in the issuer that metadata and keys name if the people of
// many tenants sign in (learn.microsoft.com/entra/identity-platform, "Access tokens", Validate the
// issuer).
const tenantID = "{tenantid}"

// manyTenants are the names in place of a tenant with which Microsoft Entra ID signs in people of
// more than one (learn.microsoft.com/entra/identity-platform, "OpenID Connect", Find your app's
// OpenID configuration document URI).
var manyTenants = []string{"common", "organizations"}

// isTenant reports whether a text is the id of a tenant: a UUID in lower case, as iss and tid have it.
func isTenant(text string) bool {
	const form = "00000000-0000-0000-0000-000000000000"
	return len(text) == len(form) && strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789abcdef", r) {
			return '0'
		}
		return r
	}, text) == form
}

// issuerTemplate returns the issuer of tokens with tenantID in it, as metadata has it, or "" if the
// provider has one issuer.
func (c Config) issuerTemplate() string {
	u, err := url.Parse(c.Issuer)
	if err != nil || len(c.Tenants) == 0 {
		return ""
	}
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !slices.Contains(manyTenants, tenant) || rest != "v2.0" {
		return ""
	}
	return u.Scheme + "://" + u.Host + "/" + tenantID + "/" + rest
}

// Issuers returns the issuers that tokens of the provider may name: the configured one, or that of
// each tenant.
func (c Config) Issuers() []string {
	template := c.issuerTemplate()
	if template == "" {
		return []string{c.Issuer}
	}
	list := make([]string, len(c.Tenants))
	for i, tenant := range c.Tenants {
		list[i] = strings.ReplaceAll(template, tenantID, tenant)
	}
	return list
}

// Issuers returns the issuers of the people who sign in with this provider. There is one, unless the
// configuration lists tenants. The caller must not change the slice.
func (p *Provider) Issuers() []string { return p.issuers }

// HasIssuer reports whether an issuer is one of Issuers.
func (p *Provider) HasIssuer(issuer string) bool { return slices.Contains(p.issuers, issuer) }

// Starts reports whether a sign-in that starts at the provider names this issuer (OpenID Connect Core 1.0
// section 4). Such a request only starts a sign-in: the response must name one of Issuers.
func (p *Provider) Starts(issuer string) bool {
	u, err := url.Parse(p.cfg.Issuer)
	return p.HasIssuer(issuer) || err == nil && p.preset.organization && strings.TrimSuffix(issuer, "/") == u.Scheme+"://"+u.Host
}

func (c Config) addTenantFaults(f *Faults) {
	if len(c.Tenants) == 0 {
		return
	}
	if c.issuerTemplate() == "" {
		f.Add("Tenants", "is set, and the issuer is that of one tenant", "remove it, or write an issuer of many tenants: https://login.microsoftonline.com/organizations/v2.0")
	}
	for _, tenant := range c.Tenants {
		if !isTenant(tenant) {
			f.Add("Tenants", fmt.Sprintf("has %q", tenant), "write the ids of directories, such as 2f4a9838-26b7-47ee-be60-ccc1fdec5953, in lower case and separated by commas: a domain name can move to another directory")
		}
	}
}

// issued says who issued a token. The tenant is "" unless the configuration lists tenants.
type issued struct{ issuer, tenant string }

// checkIssuer checks iss (OpenID Connect Core 1.0 section 3.1.3.7, 2). With a list of tenants the
// issuer must be that of a tenant in the list, and tid must name the same tenant.
func (p *Provider) checkIssuer(c strictClaims) (issued, error) {
	iss, err := c.string("iss")
	template := p.cfg.issuerTemplate()
	if err != nil || (template == "" && iss != p.cfg.Issuer) {
		return issued{}, errors.New("iss is not the configured issuer")
	}
	if template == "" {
		return issued{issuer: iss}, nil
	}
	tenant, err := c.string("tid")
	switch {
	case err != nil || !isTenant(tenant):
		return issued{}, errors.New("tid is missing or not the id of a tenant")
	case iss != strings.ReplaceAll(template, tenantID, tenant):
		return issued{}, errors.New("iss is not the issuer of the tenant that tid names")
	case !p.HasIssuer(iss):
		return issued{}, refuse(ReasonOtherTenant, "the tenant %s is not in the list", tenant)
	}
	return issued{iss, tenant}, nil
}

// mayVerify reports whether a key is for tokens of an issuer. The keys of many tenants name the
// issuer that they are for ("Access tokens", Validate the signing key issuer): a key of one tenant
// must not sign for another.
func (k publishedKey) mayVerify(by issued) bool {
	return by.tenant == "" || k.issuer == "" || strings.ReplaceAll(k.issuer, tenantID, by.tenant) == by.issuer
}
