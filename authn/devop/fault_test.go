package devop_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestOutageEnds takes the provider down for 30 seconds. Its own pages keep working.
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
		t.Fatalf("the button: got %d", r.status)
	}
	p.offset.Store(29)
	if err := called(); err == nil {
		t.Error("the provider answers a call while it is down")
	}
	if r := p.get("/"); r.status != http.StatusOK || !strings.Contains(r.body, "for 30 seconds.") {
		t.Errorf("the workbench: got %d, or it does not say that the provider is down", r.status)
	}
	p.offset.Store(30)
	if err := called(); err != nil {
		t.Errorf("a call after 30 seconds: %v", err)
	}
	if r := p.get("/"); strings.Contains(r.body, `id="trouble"`) {
		t.Error("the workbench still shows a fault")
	}
}

// TestClockOff reads the provider's clock from the Date header.
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
