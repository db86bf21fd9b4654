package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"
	"time"

	"latchkey/authn"
	"latchkey/routes"
)

// listSessions prints the sessions of the running app.
func listSessions(ctx context.Context, c invocation) error {
	query, err := selected(c, "subject")
	if err != nil {
		return err
	}
	answer, err := askOperations(ctx, c, http.MethodGet, routes.SessionsPath+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	const row = "%-8s  %-16s  %-28s  %-20s  %-20s  %-20s\n"
	fmt.Fprintf(c.stdout, row, "SESSION", "PERSON", "DEVICE", "SIGNED IN", "LAST SEEN", "EXPIRES")
	lines := bufio.NewScanner(answer)
	for lines.Scan() {
		var line struct {
			authn.ListedSession
			routes.SessionCount
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("reading the list: %w", err)
		}
		if line.Session == "" { // the last line
			_, err := fmt.Fprintf(c.stdout, "sessions: %d\n", line.Sessions)
			return err
		}
		when := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
		if _, err := fmt.Fprintf(c.stdout, row, line.Session, line.Person, printable(line.Device), when(line.SignedIn), when(line.LastSeen), when(line.Expires)); err != nil {
			return err
		}
	}
	return fmt.Errorf("the list is not complete, see the app's log: %w", errors.Join(lines.Err(), io.ErrUnexpectedEOF))
}

// endSessions ends sessions of the running app.
func endSessions(ctx context.Context, c invocation) error {
	form, err := selected(c, "subject", "session", "all")
	if err != nil {
		return err
	}
	named := len(form)
	if form.Has("issuer") {
		named--
	}
	if named != 1 {
		return fmt.Errorf("%w: sessions end takes exactly one of --subject, --session and --all", ErrConfiguration)
	}
	if form.Has("all") {
		form.Set("all", "yes")
	}
	answer, err := askOperations(ctx, c, http.MethodPost, routes.EndSessionsPath, form)
	if err != nil {
		return err
	}
	defer answer.Close()
	var ended routes.SessionCount
	if err := json.NewDecoder(answer).Decode(&ended); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	_, err = fmt.Fprintf(c.stdout, "sessions ended: %d\n", ended.Sessions)
	return err
}

// selected returns the flags that select sessions, as the app reads them, and the issuer of a subject.
func selected(c invocation, names ...string) (url.Values, error) {
	form := url.Values{}
	for _, name := range append(names, "issuer") {
		if value, ok := c.flags["--"+name]; ok {
			form.Set(name, value)
		}
	}
	if form.Has("issuer") && !form.Has("subject") {
		return nil, fmt.Errorf("%w: --issuer says whose subject it is: write --subject SUB, too", ErrConfiguration)
	}
	return form, nil
}

// askOperations sends a request with the operators' token to the running app of this configuration, and
// returns the body of its answer. The error says that nothing answers, that another program does, or
// that the app refuses.
func askOperations(ctx context.Context, c invocation, method, path string, form url.Values) (io.ReadCloser, error) {
	cfg, err := c.program.LoadConfig(c.env)
	if err != nil {
		return nil, refused(err)
	}
	if cfg.OpsToken == "" {
		return nil, fmt.Errorf("%w: OPS_TOKEN is not set: set it and OPS_ADDR for the app and for this command", ErrConfiguration)
	}
	host, port, _ := net.SplitHostPort(cfg.OpsAddr) // validate has checked it
	address := reachable(host, port)
	// Another program must not learn the token.
	if _, err := cfg.ask(ctx, "http", address, "/healthz"); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+string(cfg.OpsToken))
	req.Header.Set(routes.OperatorHeader, operatorName(c))
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req) // follows no redirect, and uses no proxy
	if err != nil {
		return nil, fmt.Errorf("nothing answers at %s: %w", address, err)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		defer resp.Body.Close()
		return nil, fmt.Errorf("%w: OPS_TOKEN: the app at %s has another one; set the same one here", ErrConfiguration, address)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // it only explains
		return nil, fmt.Errorf("%s answers %d: %s", address, resp.StatusCode, printable(string(body)))
	}
	return resp.Body, nil
}

// operatorName returns what the log says of who runs a command: the name that they give, or else their
// user and machine.
func operatorName(c invocation) string {
	if name := c.flags["--by"]; name != "" {
		return name
	}
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}
