// Latchkey signs people in with Auth0, or any OpenID Connect provider, shows them
// what it knows about them, and signs them out everywhere.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"latchkey/internal/app"
	"latchkey/internal/product"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the next one ends the process at once.
	context.AfterFunc(ctx, stop)
	err := app.Program{Product: product.New()}.Run(ctx, os.Args[1:], os.Environ(), os.Stdout)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, app.ErrConfiguration):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "latchkey: %v\n", err)
		os.Exit(1)
	}
}
