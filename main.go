// Latchkey signs people in with Auth0, or any OpenID Connect provider, shows them
// what it knows about them, and signs them out everywhere.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

// errConfiguration marks an error that only a change of the configuration mends.
var errConfiguration = errors.New("the configuration is not right")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the next one ends the process at once.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdout)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, errConfiguration):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "latchkey:", err)
		os.Exit(1)
	}
}

// run is the program: it serves until ctx ends, and then drains.
func run(ctx context.Context, args, env []string, stdout io.Writer) error {
	if len(args) > 0 {
		return runCommand(ctx, args, env, stdout)
	}
	cfg, err := loadConfig(env)
	if err != nil {
		return refused(err)
	}
	log := newLogger(cfg, stdout)
	cfg.warnOfOpenFiles(log)

	// Everything that can be refused is, before anything is opened to the network:
	// the store may be held by another process, the port may be taken.
	listener, err := listen(ctx, net.JoinHostPort(cfg.listenHost(), strconv.Itoa(cfg.Port)), "PORT")
	if err != nil {
		return err
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port

	operations, err := openOperations(ctx, cfg)
	if err != nil {
		return err
	}
	defer operations.close()

	// The store looks at DATA_DIR first: a key is kept there, too.
	store, err := cfg.openStore(ctx, log)
	if err != nil {
		return err
	}
	defer store.Close()
	keys, err := cfg.keys()
	if err != nil {
		return err
	}

	servers := newServers(log)
	provider, err := startProvider(ctx, cfg, port, servers, log)
	if err != nil {
		return err
	}
	defer provider.close()

	app, err := assemble(cfg, port, provider, cfg.authn(port, provider, keys, store, log))
	if err != nil {
		return err
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	app.start(background)
	operations.serve(servers, app.handler.Operations())
	servers.serve(listener, app.handler, cfg.TLSCertFile, cfg.TLSKeyFile)
	announce(stdout, log, cfg, port, provider, operations)

	select {
	case <-ctx.Done():
	case err := <-servers.failed:
		return err
	}
	log.Info("stopping", "grace_s", cfg.shutdownGrace().Seconds())
	return app.stop(servers, cfg.shutdownGrace())
}
