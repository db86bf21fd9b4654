package devop_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestOutageEnds has the provider go down for thirty seconds, but for its own pages.
func TestOutageEnds(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	called := func() error {
		res, err := p.browser.Do(p.request("GET", "/jwks", nil))
		if err == nil {
			res.Body.Close()
		}
		return err
	}
	if r := p.post("/trouble", url.Values{"make": {"down"}}); r.status != http.StatusSeeOther {
		t.Fatalf("the button is answered with %d", r.status)
	}
	p.offset.Store(29)
	if err := called(); err == nil {
		t.Error("a call is answered while the provider is down")
	}
	if r := p.get("/"); r.status != http.StatusOK || !strings.Contains(r.body, "for 30 seconds.") {
		t.Errorf("the workbench answers %d, or does not say that the provider is down", r.status)
	}
	p.offset.Store(30)
	if err := called(); err != nil {
		t.Errorf("a call after 30 seconds: %v", err)
	}
	if r := p.get("/"); strings.Contains(r.body, `id="trouble"`) {
		t.Error("the workbench still shows trouble")
	}
}

// TestClockOff looks at the provider's clock from outside.
func TestClockOff(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	ahead := func() time.Duration {
		date, err := http.ParseTime(p.get("/jwks").header.Get("Date"))
		if err != nil {
			t.Fatal(err)
		}
		return time.Until(date).Round(time.Minute)
	}
	for _, step := range []struct {
		form url.Values
		want time.Duration
	}{
		{url.Values{"make": {"clock"}}, 2 * time.Minute},
		{url.Values{"stop": {"1"}}, 0},
	} {
		p.post("/trouble", step.form)
		if got := ahead(); got != step.want {
			t.Errorf("after %v the provider is %s ahead, want %s", step.form, got, step.want)
		}
	}
}
