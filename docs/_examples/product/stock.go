package product

import (
	"latchkey/authn/openid"
	"latchkey/routes"
)

// stock is an API that has access tokens of its own.
func stock() routes.Upstream {
	return routes.Upstream{
		URL: "https://api.example.com/stock",
		API: openid.API{Audience: "https://stock.example.com", Scope: "stock:read"},
	}
}
