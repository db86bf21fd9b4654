# The commands of docs/development.md under short names. `make` alone lists them.
.PHONY: help run dev test check generate release
help:     ## list the targets
	@sed -n "s/^\([a-z]*\): *## /make \1	/p" Makefile
run:      ## start the app
	go run .
dev:      ## start the app, and build and restart it when a file changes
	go tool -modfile=tools/go.mod air
test:     ## run the tests
	go test ./...
check:    ## run the checks that take less than a minute; .ci/run alone runs all of them
	.ci/run quick
generate: ## generate Go from the .templ files
	go tool -modfile=tools/go.mod templ generate
release:  ## make what is published, in dist
	.ci/release dist
