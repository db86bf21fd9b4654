package session

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// inNoOrder returns a function that delays its callers and releases them out of order, if
// several wait.
func inNoOrder(t *testing.T) func() {
	came := make(chan chan struct{}, 1000)
	go func() {
		var held []chan struct{}
		for {
			if len(held) == 0 {
				select {
				case first := <-came:
					held = append(held, first)
				case <-t.Context().Done():
					return
				}
			}
			select {
			case next := <-came:
				held = append(held, next)
			default:
				i := rand.N(len(held))
				close(held[i])
				held = slices.Delete(held, i, i+1)
			}
		}
	}()
	return func() {
		turn := make(chan struct{})
		came <- turn
		<-turn
	}
}

// TestEverybodySeesThemselves (SE-10) has two hundred people refresh their profiles and
// open their dashboards at the same time, while the provider answers out of order.
func TestEverybodySeesThemselves(t *testing.T) {
	t.Parallel()
	people, rounds := 200, 5
	if testing.Short() {
		people = 50
	}
	s, c := apptest.Assemble(t)
	person := regexp.MustCompile(`(?i)person-\d{3}`)
	name := func(n int) string { return fmt.Sprintf("person-%03d", n) }
	visitors := make([]*apptest.Visitor, people)
	for n := range visitors {
		visitors[n] = s.Visitor()
		s.OP.SignInAs(name(n))
		s.SignIn(visitors[n])
	}
	correct, inTurn := s.OP.Correct(scriptedop.UserInfo), inNoOrder(t)
	s.OP.Answer(scriptedop.UserInfo, func(w http.ResponseWriter, r *http.Request) {
		inTurn()
		correct(w, r)
	})
	var busy atomic.Int64
	for range rounds {
		c.Move(time.Minute)
		var wg sync.WaitGroup
		for n, v := range visitors {
			wg.Go(func() {
				for _, got := range []apptest.Answer{v.RefreshProfile(), v.Get("/dashboard"), v.Get("/profile", "HX-Request", "true")} {
					if got.StatusCode == http.StatusServiceUnavailable {
						busy.Add(1) // the machine is overloaded
						continue
					}
					if got.StatusCode != http.StatusOK || !strings.Contains(got.Body, name(n)+"@example.com") {
						t.Errorf("%s is answered with %d without their own address", name(n), got.StatusCode)
					}
					for _, seen := range person.FindAllString(got.Body, -1) {
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
		t.Errorf("%d of %d requests were answered with 503", busy.Load(), looks)
	}
}
