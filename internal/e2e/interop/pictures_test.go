package interop

import (
	"slices"
	"strings"
	"testing"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestPictures (HB-19) signs in people of an Auth0 tenant and of another provider, whose pictures are
// at different places. A page shows a picture only if its origin is allowed, and the policy names
// exactly those origins.
func TestPictures(t *testing.T) {
	t.Parallel()
	const (
		gravatar = "https://s.gravatar.com/avatar/0123?s=480&r=pg&d=https%3A%2F%2Fcdn.auth0.com%2Favatars%2Fad.png"
		google   = "https://lh3.googleusercontent.com/a/ACg8oc=s96-c"
		initials = "https://cdn.auth0.com/avatars/ad.png"
		product  = "https://images.example.com/ada.png"
	)
	known := []string{"https://s.gravatar.com", "https://i0.wp.com", "https://i1.wp.com", "https://i2.wp.com", "https://cdn.auth0.com", "https://lh3.googleusercontent.com"}
	for name, tt := range map[string]struct {
		auth0   bool
		setting string
		shown   []string
		hidden  []string
		origins []string
	}{
		"Auth0": {
			auth0: true, shown: []string{gravatar, google, initials}, origins: known,
			hidden: []string{
				product, "http://s.gravatar.com/avatar/0123", "https://s.gravatar.com.evil.example/x.png", "https://s.gravatar.com:8443/x.png",
				"https://secure.gravatar.com/avatar/0123", "https://ada@s.gravatar.com/x.png", "https://wp.com/x.png",
			},
		},
		"Auth0 and a product": {auth0: true, setting: "https://images.example.com", shown: []string{gravatar, product}, origins: append(slices.Clone(known), "https://images.example.com")},
		"Auth0, none":         {auth0: true, setting: "none", hidden: []string{gravatar, google, initials, product}},
		"Auth0, none but a product's": {
			auth0: true, setting: "none,https://images.example.com", shown: []string{product}, hidden: []string{gravatar, google, initials}, origins: []string{"https://images.example.com"},
		},
		"another provider": {hidden: []string{gravatar, google, initials, product}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, _ := apptest.AssembleWith(t, func(c *apptest.Settings) { c.OpenID.Auth0 = tt.auth0 }, "PICTURE_ORIGINS="+tt.setting)
			profile := func(picture string) apptest.Answer {
				a.OP.Edit(scriptedop.UserInfo, func(document map[string]any) { document["picture"] = picture })
				v := a.Visitor()
				a.SignIn(v)
				return v.Get("/profile")
			}
			shows := func(page apptest.Answer, picture string) bool {
				return apptest.Find(apptest.Parse(t, page.Body), func(n *apptest.Node) bool { return n.Data == "img" && apptest.Attribute(n, "src") == picture }) != nil
			}
			for _, picture := range tt.shown {
				if !shows(profile(picture), picture) {
					t.Errorf("%s is not shown", picture)
				}
			}
			for _, picture := range tt.hidden {
				if shows(profile(picture), picture) {
					t.Errorf("%s is shown", picture)
				}
			}
			page, own := profile(a.OP.Issuer+"/ada.png"), strings.TrimSuffix(a.OP.Issuer, "/")
			if !shows(page, a.OP.Issuer+"/ada.png") {
				t.Error("a picture of the provider's own is not shown")
			}
			_, images, _ := strings.Cut(page.Header.Get("Content-Security-Policy"), "img-src 'self' ")
			images, _, _ = strings.Cut(images, ";")
			if want := strings.Join(append([]string{own}, tt.origins...), " "); images != want {
				t.Errorf("the policy allows pictures of %q, want %q", images, want)
			}
		})
	}
}
