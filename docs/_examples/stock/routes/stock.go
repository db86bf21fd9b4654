package routes

import "latchkey/authn/openid"

// stock is an API that has access tokens of its own.
func stock() upstream {
	return upstream{
		URL: "https://api.example.com/stock",
		API: openid.API{Audience: "https://stock.example.com", Scope: "stock:read"},
	}
}
