package devop

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// BackchannelLogout sends a logout token to every client that has a back-channel logout URI
// (OpenID Connect Back-Channel Logout 1.0 section 2.5). Either subject or sid may be empty,
// but not both. BackchannelLogout returns an error unless every client answers 200 within 5
// seconds. It does not end the session at the provider.
func (p *Provider) BackchannelLogout(ctx context.Context, subject, sid string) error {
	return p.sendLogout(ctx, p.cfg.Clients, subject, sid)
}

// tellClients sends logout tokens to the clients that took part in the ended session. It
// does not wait for their answers, so the browser can move on.
func (p *Provider) tellClients(ended session) {
	p.pending.Go(func() {
		if err := p.sendLogout(context.Background(), p.participants(ended), ended.Subject, ended.SID); err != nil {
			p.cfg.Log.Warn("development provider: back-channel logout failed", "error", err)
		}
	})
}

// participants returns the clients that took part in s.
func (p *Provider) participants(s session) []Client {
	var clients []Client
	for _, id := range s.Clients {
		if client, ok := p.client(id); ok {
			clients = append(clients, client)
		}
	}
	return clients
}

// sendLogout calls all clients concurrently.
func (p *Provider) sendLogout(ctx context.Context, clients []Client, subject, sid string) error {
	if subject == "" && sid == "" {
		return errors.New("devop: a logout token needs a subject or a sid")
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	results := make(chan error)
	for _, client := range clients {
		go func() { results <- p.sendLogoutToken(ctx, client, subject, sid) }()
	}
	var err error
	for range clients {
		err = errors.Join(err, <-results)
	}
	return err
}

func (p *Provider) sendLogoutToken(ctx context.Context, client Client, subject, sid string) error {
	if client.BackchannelLogoutURI == "" {
		return nil
	}
	token, err := p.logoutToken(client.ID, subject, sid)
	if err != nil {
		return err
	}
	body := url.Values{"logout_token": {token}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, client.BackchannelLogoutURI, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("devop: back-channel logout of client %q: %w", client.ID, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := p.calls.Do(req)
	if err != nil {
		return fmt.Errorf("devop: back-channel logout of client %q: %w", client.ID, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("devop: back-channel logout of client %q: unexpected status %s", client.ID, res.Status)
	}
	return nil
}

// logoutToken returns a signed logout token (OpenID Connect Back-Channel Logout 1.0 section
// 2.4).
func (p *Provider) logoutToken(audience, subject, sid string) (string, error) {
	now := p.now()
	claims := map[string]any{
		"iss": p.cfg.Issuer, "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(logoutTTL).Unix(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": struct{}{}},
	}
	if subject != "" {
		claims["sub"] = subject
	}
	if sid != "" {
		claims["sid"] = sid
	}
	return p.sign("logout+jwt", claims)
}
