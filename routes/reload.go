//go:build !release

package routes

import (
	"crypto/rand"
	"os"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	reloadPath = "/dev/reload"
	// reloadReturn is when a page asks again whose process has gone: while one waits for
	// a change to be seen, a tenth of a second is much.
	reloadReturn = 100 * time.Millisecond
	// buildFailure is where .air.toml leaves what the compiler says of a build that failed.
	// The last program that could be built runs on meanwhile.
	buildFailure = "tmp/build-failure.txt"
)

// reload makes open pages reload themselves when another process takes this one's place,
// as it does after a change. It is there beside the development provider only.
func (a *App) reload() {
	if a.DevelopmentProvider == "" {
		return
	}
	a.process = rand.Text()
	a.echo.GET(reloadPath, a.reloadEvents)
}

// reloadEvents says which process answers, and what is wrong with the newest change.
func (a *App) reloadEvents(c echo.Context) error {
	if !a.fromOurPage(c.Request()) {
		return errCrossOrigin
	}
	stream := openStream(c, reloadReturn)
	stream.send("process", a.process)
	if failure, err := os.ReadFile(buildFailure); err == nil {
		stream.send("failure", string(failure))
	}
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	for !stream.broken() {
		select {
		case <-look.C:
			stream.beat()
		case <-c.Request().Context().Done():
			return nil
		case <-a.stopping:
			return nil
		}
	}
	return nil
}
