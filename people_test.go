package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn/scriptedop"
)

// TestEverybodySeesThemselves (SE-10) has two hundred people refresh their profiles and look
// at their dashboards at the same time, with a provider that answers in no order.
func TestEverybodySeesThemselves(t *testing.T) {
	t.Parallel()
	people, rounds := 200, 5
	if testing.Short() {
		people = 50
	}
	s, c := assembleScripted(t)
	anybody := regexp.MustCompile(`(?i)person-\d{3}`)
	name := func(n int) string { return fmt.Sprintf("person-%03d", n) }
	visitors := make([]*visitor, people)
	for n := range visitors {
		visitors[n] = s.visitor()
		s.op.SignInAs(name(n))
		s.signInNow(visitors[n])
	}
	correct := s.op.Correct(scriptedop.UserInfo)
	s.op.Answer(scriptedop.UserInfo, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(rand.N(10 * time.Millisecond))
		correct(w, r)
	})
	var busy atomic.Int64
	for range rounds {
		c.Move(time.Minute)
		var wg sync.WaitGroup
		for n, v := range visitors {
			wg.Go(func() {
				for _, got := range []answer{v.refreshProfile(), v.get("/dashboard"), v.get("/profile", "HX-Request", "true")} {
					if got.StatusCode == http.StatusServiceUnavailable {
						busy.Add(1) // a machine that has too much to do
						continue
					}
					if got.StatusCode != http.StatusOK || !strings.Contains(got.body, name(n)+"@example.com") {
						t.Errorf("%s is answered %d without their own address", name(n), got.StatusCode)
					}
					for _, seen := range anybody.FindAllString(got.body, -1) {
						if !strings.EqualFold(seen, name(n)) {
							t.Errorf("%s sees %s", name(n), seen)
						}
					}
				}
			})
		}
		wg.Wait()
	}
	if looks := int64(3 * people * rounds); busy.Load() > looks/20 {
		t.Errorf("%d of %d looks were answered 503", busy.Load(), looks)
	}
}
