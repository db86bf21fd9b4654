// People is a product on Latchkey that keeps people in a database: SQLite, or PostgreSQL if
// DATABASE_URL says so. docs/guide.md walks through it.
//
//	go run .
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"latchkey/examples/people/product"
	"latchkey/internal/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the next one ends the process at once.
	context.AfterFunc(ctx, stop)
	err := app.Program{Product: product.New()}.Run(ctx, os.Args[1:], os.Environ(), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "people: %v\n", err)
		if errors.Is(err, app.ErrConfiguration) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}
