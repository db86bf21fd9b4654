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
	// reloadReturn is when a page reconnects after its process has stopped. It is short, because
	// a developer is waiting to see a change.
	reloadReturn = 100 * time.Millisecond
	// buildFailure is where .air.toml writes the compiler's errors when a build fails. The previous
	// build keeps running meanwhile.
	buildFailure = "tmp/build-failure.txt"
)

// reload makes open pages reload themselves when another process replaces this one, as after a
// change. It exists only with the development provider.
func (a *App) reload() {
	if a.DevelopmentProvider == "" {
		return
	}
	a.process = rand.Text()
	a.echo.GET(reloadPath, a.reloadEvents)
}

// reloadEvents reports which process answers, and why the newest change does not build.
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
