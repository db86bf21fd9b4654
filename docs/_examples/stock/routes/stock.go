package routes

import "latchkey/authn/openid"

// stock is an API that has access tokens of its own.
func stock() Upstream {
	return Upstream{
		URL: "https://api.example.com/stock",
		API: openid.API{Audience: "https://stock.example.com", Scope: "stock:read"},
	}
}
