package app_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// tenant returns a valid configuration of an Auth0 tenant.
func tenant(changes ...string) []string {
	return append([]string{
		"AUTH0_DOMAIN=tenant.eu.auth0.com", "AUTH0_CLIENT_ID=client", "AUTH0_CLIENT_SECRET=kept-to-ourselves",
		"APP_SECRET_KEY=0123456789abcdef0123456789abcdef",
	}, changes...)
}

// other does so for an issuer: another provider, or Auth0.
func other(issuer string, changes ...string) []string {
	return append([]string{"OIDC_ISSUER=" + issuer, "AUTH0_CLIENT_ID=c", "AUTH0_CLIENT_SECRET=s"}, changes...)
}

// TestConfigurationFaults (CF-01, CF-02, CF-03, CK-10, DV-03, DV-04) checks that each fault
// stops the program before it listens, and names its variable.
func TestConfigurationFaults(t *testing.T) {
	const secret = "kept-to-ourselves"
	dir := t.TempDir()
	notPEM := filepath.Join(dir, "not.pem")
	if err := os.WriteFile(notPEM, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := apptest.WriteCertificate(t)
	_, otherKey := apptest.WriteCertificate(t)
	https := func(changes ...string) []string {
		return tenant(append(changes, "AUTH0_CALLBACK_URL=https://localhost:3000/callback")...)
	}
	ecKey, rsaKey, shortKey := apptest.WritePKCS8(t, apptest.NewKey(t, "P-256")), apptest.WritePKCS8(t, apptest.NewKey(t, "RSA")), apptest.WritePKCS8(t, apptest.NewKey(t, "short RSA"))
	tests := []struct {
		name string
		env  []string
		want []string // each fault begins a line with its variable
	}{
		{"a domain with a scheme", tenant("AUTH0_DOMAIN=https://tenant.eu.auth0.com/"), []string{"AUTH0_DOMAIN: "}},
		{"a domain with a slash", tenant("AUTH0_DOMAIN=tenant.eu.auth0.com/"), []string{"AUTH0_DOMAIN: "}},
		{"an operators' address without a port", tenant("OPS_ADDR=localhost"), []string{"OPS_ADDR: "}},
		{"an operators' token without an address", tenant("OPS_TOKEN=5d8e0c1f9b7a42638e1d0c5b4a392817"), []string{"OPS_ADDR: "}},
		{"an operators' token that is short", tenant("OPS_ADDR=:9090", "OPS_TOKEN="+secret), []string{"OPS_TOKEN: "}},
		{"an operators' token that is not random", tenant("OPS_ADDR=:9090", "OPS_TOKEN=changemechangemechangemechangeme"), []string{"OPS_TOKEN: "}},
		{"an operators' token with a space", tenant("OPS_ADDR=:9090", "OPS_TOKEN=5d8e0c1f9b7a4263 8e1d0c5b4a392817"), []string{"OPS_TOKEN: "}},
		{"an operators' token that is the app's key", tenant("OPS_ADDR=:9090", "OPS_TOKEN=0123456789abcdef0123456789abcdef"), []string{"OPS_TOKEN: "}},
		{"the app's port for operators", tenant("PORT=3000", "OPS_ADDR=127.0.0.1:3000"), []string{"OPS_ADDR: "}},
		{"the app's port for operators, on all interfaces", tenant("PORT=3000", "OPS_ADDR=:3000"), []string{"OPS_ADDR: "}},
		{"the development provider's port for operators", []string{"PORT=3000", "OPS_ADDR=localhost:3001"}, []string{"DEV_PROVIDER_ADDR: "}},
		{"the app's port for the development provider", []string{"PORT=3000", "DEV_PROVIDER_ADDR=127.0.0.1:3000"}, []string{"DEV_PROVIDER_ADDR: "}},
		{"another kind of database", tenant("SESSION_STORE=postgres://db.example"), []string{"SESSION_STORE: "}},
		{"events in a directory that is not there", tenant("LOG_EVENTS=/nonexistent/events.log"), []string{"LOG_EVENTS: "}},
		{"a descriptor that is no number", tenant("LOG_EVENTS=fd:three"), []string{"LOG_EVENTS: "}},
		{"a grace that is no time", tenant("SHUTDOWN_GRACE=long"), []string{"SHUTDOWN_GRACE: "}},
		{"a grace that is past", tenant("SHUTDOWN_GRACE=-1s"), []string{"SHUTDOWN_GRACE: "}},
		{"a grace that nobody waits for", tenant("SHUTDOWN_GRACE=1h"), []string{"SHUTDOWN_GRACE: "}},
		{"two providers", tenant("OIDC_ISSUER=https://id.example.com"), []string{"OIDC_ISSUER: "}},
		{"an issuer over plain http", []string{"OIDC_ISSUER=http://id.example.com", "AUTH0_CLIENT_ID=c", "AUTH0_CLIENT_SECRET=" + secret}, []string{"OIDC_ISSUER: "}},
		{"a client id without a provider", []string{"AUTH0_CLIENT_ID=client"}, []string{"AUTH0_DOMAIN: "}},
		{"a provider without a client", []string{"AUTH0_DOMAIN=tenant.eu.auth0.com"}, []string{"AUTH0_CLIENT_ID: ", "AUTH0_CLIENT_SECRET: "}},
		{"a misspelt variable", tenant("AUTH0_CLIENTID=client"), []string{"AUTH0_CLIENTID: "}},
		{"a variable with a letter too many", tenant("APP_SECRET_KEYS=x"), []string{"APP_SECRET_KEYS: "}},
		{"a variable with two letters exchanged", tenant("AUTH0_DOMIAN=x"), []string{"AUTH0_DOMIAN: "}},
		{"TLS under an http address", tenant("TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile), []string{"AUTH0_CALLBACK_URL: "}},
		{"a callback on another port", tenant("AUTH0_CALLBACK_URL=http://localhost:3000/callback", "PORT=4000"), []string{"PORT: "}},
		{"a variable set to nothing is not set", tenant("AUTH0_CLIENT_ID="), []string{}},
		{"the development provider off loopback", []string{"AUTH0_CALLBACK_URL=https://app.example.com/callback", "APP_SECRET_KEY=0123456789abcdef0123456789abcdef"}, []string{"AUTH0_DOMAIN: "}},
		{"the development provider on all interfaces", []string{"LISTEN_ADDR=0.0.0.0"}, []string{"LISTEN_ADDR: "}},
		{"the development provider's own listener off loopback", []string{"DEV_PROVIDER_ADDR=0.0.0.0:3001"}, []string{"DEV_PROVIDER_ADDR: "}},
		{"mutual TLS with the development provider, without a certificate", []string{"CLIENT_AUTH=tls_client_auth"}, []string{"CLIENT_TLS_CERT_FILE: is missing"}},
		{"plain http off loopback", tenant("AUTH0_CALLBACK_URL=http://app.example.com/callback"), []string{"AUTH0_CALLBACK_URL: "}},
		{"a callback elsewhere", tenant("AUTH0_CALLBACK_URL=https://app.example.com/auth"), []string{`AUTH0_CALLBACK_URL: is "https://app.example.com/auth", with the path "/auth"; use the path /callback`}},
		{"a callback below a path", tenant("AUTH0_CALLBACK_URL=https://app.example.com/app/callback"), []string{`AUTH0_CALLBACK_URL: is "https://app.example.com/app/callback", below the path "/app"; serve the app at the root of a host or port of its own, such as https://app.example.com/callback, and write that here and at the provider: it cannot run below a path`}},
		{"a callback below two paths", tenant("AUTH0_CALLBACK_URL=https://app.example.com/a/b/callback"), []string{`AUTH0_CALLBACK_URL: is "https://app.example.com/a/b/callback", below the path "/a/b"; `}},
		{"a callback with a slash at its end", tenant("AUTH0_CALLBACK_URL=https://app.example.com/callback/"), []string{`AUTH0_CALLBACK_URL: is "https://app.example.com/callback/", with the path "/callback/"; use the path /callback`}},
		{"a callback that only ends so", tenant("AUTH0_CALLBACK_URL=https://app.example.com/auth-callback"), []string{`AUTH0_CALLBACK_URL: is "https://app.example.com/auth-callback", with the path "/auth-callback"; use the path /callback`}},
		{"a callback without a scheme", tenant("AUTH0_CALLBACK_URL=app.example.com/callback"), []string{`AUTH0_CALLBACK_URL: is "app.example.com/callback", not an absolute URL; write it with its scheme and host`}},
		{"a callback with a port and without a scheme", tenant("AUTH0_CALLBACK_URL=localhost:3000/callback"), []string{`AUTH0_CALLBACK_URL: is "localhost:3000/callback", not an absolute URL`}},
		{"a callback with a query", tenant("AUTH0_CALLBACK_URL=https://app.example.com/callback?a=b"), []string{`AUTH0_CALLBACK_URL: is "https://app.example.com/callback?a=b", with a query or a fragment; remove what comes after /callback`}},
		{"a callback with a password", tenant("AUTH0_CALLBACK_URL=https://u:" + secret + "@app.example.com/callback"), []string{"AUTH0_CALLBACK_URL: has a user name; "}},
		{"no secret off loopback", tenant("AUTH0_CALLBACK_URL=https://app.example.com/callback", "APP_SECRET_KEY="), []string{"APP_SECRET_KEY: "}},
		{"two secrets that are not set", tenant("APP_SECRET_KEY=,"), []string{`APP_SECRET_KEY: has an empty key; `}},
		{"a new secret that is not set", tenant("APP_SECRET_KEY=,0123456789abcdef0123456789abcdef"), []string{`APP_SECRET_KEY: has an empty key; `}},
		{"a short secret", tenant("APP_SECRET_KEY=" + secret), []string{"APP_SECRET_KEY: "}},
		{"a placeholder for a secret", tenant("APP_SECRET_KEY=changemechangemechangemechangeme"), []string{"APP_SECRET_KEY: "}},
		{"a placeholder with a hint for a secret", tenant("APP_SECRET_KEY=made-with-openssl-rand-hex-32-please"), []string{"APP_SECRET_KEY: "}},
		{"CF-02 the placeholders of the greeting", tenant("AUTH0_CLIENT_ID=...", "AUTH0_CLIENT_SECRET=..."), []string{"AUTH0_CLIENT_ID: ", "AUTH0_CLIENT_SECRET: "}},
		{"CF-02 a placeholder in brackets", tenant("AUTH0_CLIENT_ID=<client-id>"), []string{"AUTH0_CLIENT_ID: "}},
		{"CF-02 a placeholder of other examples", tenant("AUTH0_CLIENT_SECRET=YOUR_CLIENT_SECRET"), []string{"AUTH0_CLIENT_SECRET: "}},
		{"CF-02 a placeholder in braces", tenant("AUTH0_CLIENT_ID={yourClientId}"), []string{"AUTH0_CLIENT_ID: "}},
		{"CF-02 a placeholder for the domain", tenant("AUTH0_DOMAIN=YOUR_DOMAIN"), []string{`AUTH0_DOMAIN: is "YOUR_DOMAIN", a placeholder; `}},
		{"CF-02 a placeholder for the tenant", tenant("AUTH0_DOMAIN=your-tenant.eu.auth0.com"), []string{`AUTH0_DOMAIN: is "your-tenant.eu.auth0.com", a placeholder; `}},
		{"CF-02 a placeholder for the issuer", other("https://{yourDomain}/"), []string{`OIDC_ISSUER: is "https://{yourDomain}/", a placeholder; `}},
		{"the address of the metadata as issuer", other("https://id.example.com/realms/acme/.well-known/openid-configuration"), []string{`OIDC_ISSUER: is "https://id.example.com/realms/acme/.well-known/openid-configuration", the address of the provider's metadata; write the issuer that the metadata names, such as https://id.example.com/realms/acme`}},
		{"scopes with commas", tenant("AUTH0_SCOPES=openid,profile,email"), []string{`AUTH0_SCOPES: is "openid,profile,email", with commas; separate the scopes with spaces`}},
		{"scopes in quotation marks", tenant(`AUTH0_SCOPES="openid profile email"`), []string{`AUTH0_SCOPES: is "\"openid profile email\"", with quotation marks; `}},
		{"an old secret that is too short", tenant("APP_SECRET_KEY=0123456789abcdef0123456789abcdef,short"), []string{"APP_SECRET_KEY: "}},
		{"a port that is no number", tenant("PORT=http"), []string{"PORT: "}},
		{"a port out of range", tenant("PORT=70000"), []string{"PORT: "}},
		{"a listen address with a port", tenant("LISTEN_ADDR=localhost:3000"), []string{"LISTEN_ADDR: "}},
		{"a certificate without its key", https("TLS_CERT_FILE=" + certFile), []string{"TLS_KEY_FILE: "}},
		{"a certificate that is not there", https("TLS_CERT_FILE="+dir+"/none", "TLS_KEY_FILE="+keyFile), []string{"TLS_CERT_FILE: "}},
		{"CF-14 a certificate that is none", https("TLS_CERT_FILE="+notPEM, "TLS_KEY_FILE="+keyFile), []string{"TLS_CERT_FILE: "}},
		{"CF-14 a certificate with another's key", https("TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+otherKey), []string{"TLS_CERT_FILE: "}},
		{"callers with certificates, and none of the app's own", tenant("MTLS_ADDR=:8443", "AUTH0_AUDIENCE=https://api.example"), []string{"TLS_CERT_FILE: "}},
		{"callers with certificates, and no API", https("MTLS_ADDR=:8443", "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile), []string{"AUTH0_AUDIENCE: "}},
		{"callers with certificates at no port", https("MTLS_ADDR=localhost", "AUTH0_AUDIENCE=https://api.example", "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile), []string{"MTLS_ADDR: "}},
		{"access tokens neither any nor bound", tenant("API_TOKENS=dpop"), []string{"API_TOKENS: "}},
		{"nonces neither off nor required", tenant("API_DPOP_NONCE=on"), []string{"API_DPOP_NONCE: "}},
		{"an unknown store", tenant("SESSION_STORE=postgres"), []string{"SESSION_STORE: "}},
		{"a store at an unknown kind of URL", tenant("SESSION_STORE=postgres://:" + secret + "@localhost"), []string{"SESSION_STORE: "}},
		{"CF-11 Redis in plain text", tenant("SESSION_STORE=redis://:" + secret + "@redis.example.com"), []string{"SESSION_STORE: "}},
		{"a Redis URL that cannot be read", tenant("SESSION_STORE=redis://:/" + secret + "@localhost"), []string{"SESSION_STORE: "}},
		{"DV-03 the development provider with a shared Redis", []string{"SESSION_STORE=rediss://:" + secret + "@redis.example.com"}, []string{"SESSION_STORE: "}},
		{"a duration without a unit", tenant("SESSION_IDLE=24"), []string{"SESSION_IDLE: "}},
		{"an idle timeout of no time", tenant("SESSION_IDLE=0s"), []string{"SESSION_IDLE: "}},
		{"no session for anyone", tenant("SESSION_LIMIT=0"), []string{"SESSION_LIMIT: "}},
		{"pushed requests in an unknown way", tenant("PUSHED_AUTHORIZATION_REQUESTS=sometimes"), []string{"PUSHED_AUTHORIZATION_REQUESTS: "}},
		{"an unknown response mode", tenant("RESPONSE_MODE=fragment"), []string{"RESPONSE_MODE: "}},
		{"DPoP neither on nor off", []string{"DPOP=yes"}, []string{"DPOP: "}},
		{"federated sign-out with the development provider", []string{"FEDERATED_LOGOUT=on"}, []string{"FEDERATED_LOGOUT: "}},
		{"an absolute lifetime below the idle one", tenant("SESSION_IDLE=2h", "SESSION_ABSOLUTE=1h"), []string{"SESSION_ABSOLUTE: "}},
		{"an unknown client authentication", tenant("CLIENT_AUTH=none"), []string{"CLIENT_AUTH: "}},
		{"private_key_jwt without a key", tenant("CLIENT_AUTH=private_key_jwt"), []string{"CLIENT_SIGNING_KEY: "}},
		{"private_key_jwt with something else", tenant("CLIENT_AUTH=private_key_jwt", "CLIENT_SIGNING_KEY="+notPEM), []string{"CLIENT_SIGNING_KEY: "}},
		{"a resource without a scheme", other("https://id.example.com", "RESOURCES=https://orders.example.com,stock"), []string{`RESOURCES: has "stock"; write each API`}},
		{"a resource with a fragment", other("https://id.example.com", "RESOURCES=https://orders.example.com#a"), []string{`RESOURCES: has "https://orders.example.com#a"`}},
		{"resources at Auth0", tenant("RESOURCES=https://orders.example.com"), []string{"RESOURCES: is set, and Auth0 does not use it"}},
		{"private_key_jwt with an algorithm of another key", tenant("CLIENT_AUTH=private_key_jwt", "CLIENT_SIGNING_KEY="+ecKey, "CLIENT_SIGNING_ALG=RS256"), []string{"CLIENT_SIGNING_ALG: "}},
		{"private_key_jwt with an algorithm there is not", tenant("CLIENT_AUTH=private_key_jwt", "CLIENT_SIGNING_KEY="+rsaKey, "CLIENT_SIGNING_ALG=HS256"), []string{"CLIENT_SIGNING_ALG: "}},
		{"private_key_jwt with a short key", tenant("CLIENT_AUTH=private_key_jwt", "CLIENT_SIGNING_KEY="+shortKey), []string{"CLIENT_SIGNING_KEY: "}},
		{"ID-03 ID tokens signed by nobody", tenant("ID_TOKEN_ALG=none"), []string{"ID_TOKEN_ALG: "}},
		{"ID-03 ID tokens signed with the secret", tenant("ID_TOKEN_ALG=RS256,HS256"), []string{"ID_TOKEN_ALG: "}},
		{"ID-08 an Auth0 issuer without its slash", other("https://tenant.eu.auth0.com"), []string{`OIDC_ISSUER: is "https://tenant.eu.auth0.com"; an Auth0 issuer ends in a slash; write https://tenant.eu.auth0.com/`}},
		{"the issuer of every Microsoft directory", other("https://login.microsoftonline.com/common/v2.0"), []string{"OIDC_ISSUER: "}},
		{"Google's issuer with a slash", other("https://accounts.google.com/"), []string{"OIDC_ISSUER: "}},
		{"federated sign-out elsewhere than with Auth0", other("https://id.example.com", "FEDERATED_LOGOUT=on"), []string{"FEDERATED_LOGOUT: "}},
		{"federated sign-out neither on nor off", tenant("FEDERATED_LOGOUT=yes"), []string{"FEDERATED_LOGOUT: "}},
		{"UI-05 userinfo neither optional nor required", tenant("USERINFO=always"), []string{"USERINFO: "}},
		{"form_post on http", tenant("RESPONSE_MODE=form_post"), []string{"RESPONSE_MODE: "}},
		{"scopes without openid", tenant("AUTH0_SCOPES=profile email"), []string{"AUTH0_SCOPES: "}},
		{"a proxy that is no CIDR", tenant("TRUSTED_PROXIES=10.0.0.1"), []string{"TRUSTED_PROXIES: "}},
		{"a wildcard for pictures", tenant("PICTURE_ORIGINS=https://*.example.com"), []string{"PICTURE_ORIGINS: "}},
		{"a back channel of no issuer", []string{"OIDC_BACKCHANNEL_ORIGIN=http://keycloak:8080"}, []string{"OIDC_BACKCHANNEL_ORIGIN: is set, and OIDC_ISSUER is not"}},
		{"a back channel of Auth0", tenant("OIDC_BACKCHANNEL_ORIGIN=http://keycloak:8080"), []string{"OIDC_BACKCHANNEL_ORIGIN: is set, and OIDC_ISSUER is not"}},
		{"CF-03 a back channel on plain http", other("https://id.example.com", "OIDC_BACKCHANNEL_ORIGIN=http://id.example.com"), []string{"OIDC_BACKCHANNEL_ORIGIN: "}},
		{"a back channel with a path", other("https://id.example.com", "OIDC_BACKCHANNEL_ORIGIN=https://keycloak/realms/acme"), []string{"OIDC_BACKCHANNEL_ORIGIN: "}},
		{"a logout URL that is a path", tenant("AUTH0_LOGOUT_URL=/signed-out"), []string{"AUTH0_LOGOUT_URL: "}},
		{"a logout URL of another port", tenant("AUTH0_LOGOUT_URL=http://localhost:3001"), []string{"AUTH0_LOGOUT_URL: "}},
		{"a logout URL of another site", tenant("AUTH0_LOGOUT_URL=https://www.example.com/bye"), []string{"AUTH0_LOGOUT_URL: "}},
		{"a logout URL of another scheme", tenant("AUTH0_LOGOUT_URL=https://localhost:3000/signed-out"), []string{"AUTH0_LOGOUT_URL: "}},
		{"a logout URL with a user", tenant("AUTH0_LOGOUT_URL=http://kept-to-ourselves@localhost:3000/"), []string{"AUTH0_LOGOUT_URL: has a user name"}},
		{"a logout URL with a fragment", tenant("AUTH0_LOGOUT_URL=http://localhost:3000/#bye"), []string{"AUTH0_LOGOUT_URL: "}},
		{"a logout URL that cannot be read", tenant("AUTH0_LOGOUT_URL=http://local host:3000/"), []string{"AUTH0_LOGOUT_URL: "}},
		{"pictures of no kind", tenant("PICTURE_ORIGINS=off"), []string{"PICTURE_ORIGINS: "}},
		{"an unknown log level", tenant("LOG_LEVEL=loud"), []string{"LOG_LEVEL: "}},
		{"a certificate without its key", tenant("CLIENT_TLS_CERT_FILE=" + certFile), []string{"CLIENT_TLS_KEY_FILE: is missing"}},
		{"a certificate with another key", tenant("CLIENT_TLS_CERT_FILE="+certFile, "CLIENT_TLS_KEY_FILE="+otherKey), []string{"CLIENT_TLS_CERT_FILE: cannot be used with CLIENT_TLS_KEY_FILE"}},
		{"authentication by no certificate", tenant("CLIENT_AUTH=tls_client_auth"), []string{"CLIENT_TLS_CERT_FILE: is missing"}},
		{"request objects without a key", tenant("REQUEST_OBJECT=on"), []string{"CLIENT_SIGNING_KEY: is missing"}},
		{"CF-16 an unknown profile", tenant("PROFILE=fapi1", "CLIENT_SIGNING_KEY="+ecKey, "CLIENT_TLS_CERT_FILE="+certFile, "CLIENT_TLS_KEY_FILE="+keyFile), []string{`PROFILE: is "fapi1"; choose from: fapi2, fapi2-message-signing`}},
		{"CF-16 a profile alone", tenant("PROFILE=fapi2"), []string{"CLIENT_SIGNING_KEY: is missing"}},
		{
			"CF-16 a profile against everything", tenant("PROFILE=fapi2-message-signing", "CLIENT_AUTH=client_secret_post", "PUSHED_AUTHORIZATION_REQUESTS=auto", "ID_TOKEN_ALG=RS256",
				"RESPONSE_MODE=query", "REQUEST_OBJECT=off", "DPOP=off", "AUTHORIZATION_SIGNED_RESPONSE_ALG=RS256"),
			[]string{
				`CLIENT_AUTH: is "client_secret_post", which the profile fapi2-message-signing does not allow; use private_key_jwt, `, "PUSHED_AUTHORIZATION_REQUESTS: ", "ID_TOKEN_ALG: ",
				"RESPONSE_MODE: ", "REQUEST_OBJECT: ", "AUTHORIZATION_SIGNED_RESPONSE_ALG: ", "DPOP: ",
			},
		},
		{"CF-16 a profile and a back channel in plain http", other("https://id.example.com", "OIDC_BACKCHANNEL_ORIGIN=http://keycloak:8080", "PROFILE=fapi2", "CLIENT_SIGNING_KEY="+ecKey), []string{"OIDC_BACKCHANNEL_ORIGIN: is plain http"}},
		{"everything at once", tenant("AUTH0_DOMAIN=https://x", "PORT=x", "SESSION_IDLE=x", "APP_SECRET_KEY=x"), []string{"AUTH0_DOMAIN: ", "PORT: ", "SESSION_IDLE: ", "APP_SECRET_KEY: "}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := app.LoadConfig(test.env)
			if len(test.want) == 0 {
				if err == nil || !strings.Contains(err.Error(), "AUTH0_CLIENT_ID: is missing") {
					t.Fatalf("error %v, want that AUTH0_CLIENT_ID is missing", err)
				}
				return
			}
			if err == nil {
				t.Fatal("the configuration was accepted")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(test.want) {
				t.Errorf("%d faults, want %d:\n%v", len(lines), len(test.want), err)
			}
			for _, want := range test.want {
				if !strings.Contains("\n"+err.Error(), "\n"+want) {
					t.Errorf("no line begins with %q:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("SL-06: the error quotes a secret:\n%v", err)
			}
		})
	}
}

// TestConfigurationAccepted loads valid configurations that are close to faulty ones.
func TestConfigurationAccepted(t *testing.T) {
	ecKey, rsaKey := apptest.WritePKCS8(t, apptest.NewKey(t, "P-256")), apptest.WritePKCS8(t, apptest.NewKey(t, "RSA"))
	certFile, keyFile := apptest.WriteCertificate(t)
	tests := []struct {
		name string
		env  []string
	}{
		{"CF-02 a client whose name begins as placeholders do", tenant("AUTH0_CLIENT_ID=yourcompany-web", "AUTH0_CLIENT_SECRET=xxx-is-how-it-begins")},
		{"nothing at all", nil},
		{"an operators' token", tenant("OPS_ADDR=:9090", "OPS_TOKEN=5d8e0c1f9b7a42638e1d0c5b4a392817", "LOG_EVENTS=fd:3")},
		{"a store whose scheme is in capitals", tenant("SESSION_STORE=REDISS://db.example:6379")},
		{"one port on two addresses", tenant("PORT=3000", "LISTEN_ADDR=127.0.0.1", "OPS_ADDR=127.0.0.2:3000")},
		{"one port for each version of IP", tenant("PORT=3000", "LISTEN_ADDR=0.0.0.0", "OPS_ADDR=[::1]:3000")},
		{"any free ports", []string{"PORT=0", "OPS_ADDR=127.0.0.1:0", "DEV_PROVIDER_ADDR=127.0.0.1:0"}},
		{"an operators' address on all interfaces", tenant("OPS_ADDR=:9090", "SHUTDOWN_GRACE=0s")},
		{"a tenant on loopback", tenant()},
		{"a tenant on loopback without a secret of ours", tenant("APP_SECRET_KEY=")},
		{"a tenant in public", tenant("AUTH0_CALLBACK_URL=https://app.example.com/callback")},
		{"a provider with a path", []string{"OIDC_ISSUER=https://id.example.com/realms/acme", "AUTH0_CLIENT_ID=c", "AUTH0_CLIENT_SECRET=s"}},
		{"a provider on loopback", []string{"OIDC_ISSUER=http://127.0.0.1:9000/", "AUTH0_CLIENT_ID=c", "AUTH0_CLIENT_SECRET=s"}},
		{"two secrets", tenant("APP_SECRET_KEY=0123456789abcdef0123456789abcdef,fedcba9876543210fedcba9876543210")},
		{"ID-08 an Auth0 issuer", other("https://tenant.eu.auth0.com/")},
		{"one Microsoft directory", other("https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0")},
		{"DPoP", tenant("DPOP=on")},
		{"federated sign-out", tenant("FEDERATED_LOGOUT=on")},
		{"tls_client_auth without a secret", []string{"OIDC_ISSUER=https://id.example.com", "AUTH0_CLIENT_ID=c", "CLIENT_AUTH=tls_client_auth", "CLIENT_TLS_CERT_FILE=" + certFile, "CLIENT_TLS_KEY_FILE=" + keyFile}},
		{"signed requests and responses", tenant("REQUEST_OBJECT=on", "CLIENT_SIGNING_KEY="+rsaKey, "RESPONSE_MODE=jwt", "AUTHORIZATION_SIGNED_RESPONSE_ALG=RS256,PS256")},
		{"signed responses in a form", tenant("RESPONSE_MODE=form_post.jwt", "AUTH0_CALLBACK_URL=https://app.example.com/callback")},
		{"CF-16 a profile with an EC key", tenant("PROFILE=fapi2", "CLIENT_SIGNING_KEY="+ecKey, "CLIENT_TLS_CERT_FILE="+certFile, "CLIENT_TLS_KEY_FILE="+keyFile)},
		{"CF-16 a profile with DPoP", tenant("PROFILE=fapi2-message-signing", "CLIENT_SIGNING_KEY="+ecKey)},
		{"CF-16 a profile with an RSA key", tenant("PROFILE=fapi2-message-signing", "CLIENT_SIGNING_KEY="+rsaKey, "CLIENT_TLS_CERT_FILE="+certFile, "CLIENT_TLS_KEY_FILE="+keyFile)},
		{"federated sign-out by the issuer", other("https://tenant.eu.auth0.com/", "FEDERATED_LOGOUT=on")},
		{"UI-05 userinfo required", tenant("USERINFO=required")},
		{"Redis with TLS", tenant("SESSION_STORE=rediss://:secret@redis.example.com:6379/1?prefix=app:")},
		{"CF-11 Redis in plain text by intent", tenant("SESSION_STORE=redis://redis.example.com?insecure=true")},
		{"CF-16 a profile with the development provider", []string{"PROFILE=fapi2", "CLIENT_AUTH=self_signed_tls_client_auth", "CLIENT_TLS_CERT_FILE=" + certFile, "CLIENT_TLS_KEY_FILE=" + keyFile}},
		{"the development provider with Redis on this machine", []string{"SESSION_STORE=redis://localhost:6379"}},
		{"several algorithms", tenant("ID_TOKEN_ALG=RS256,ES256,EdDSA")},
		{"private_key_jwt without a secret", []string{"OIDC_ISSUER=https://id.example.com", "AUTH0_CLIENT_ID=c", "CLIENT_AUTH=private_key_jwt", "CLIENT_SIGNING_KEY=" + ecKey}},
		{"private_key_jwt with an algorithm and a name", tenant("CLIENT_AUTH=private_key_jwt", "CLIENT_SIGNING_KEY="+rsaKey, "CLIENT_SIGNING_ALG=PS256", "CLIENT_SIGNING_KID=k")},
		{"form_post on https", tenant("RESPONSE_MODE=form_post", "AUTH0_CALLBACK_URL=https://app.example.com/callback")},
		{"proxies and pictures", tenant("TRUSTED_PROXIES=10.0.0.0/8,::1/128", "PICTURE_ORIGINS=https://s.gravatar.com")},
		{"a back channel", other("https://id.example.com/realms/acme", "OIDC_BACKCHANNEL_ORIGIN=http://keycloak:8080")},
		{"no pictures", tenant("PICTURE_ORIGINS=none")},
		{"pictures of our own alone", tenant("PICTURE_ORIGINS=none,https://images.example.com")},
		{"the logout URL of before", tenant("AUTH0_LOGOUT_URL=http://localhost:3000/signed-out")},
		{"a logout URL with a slash", tenant("AUTH0_LOGOUT_URL=http://localhost:3000/")},
		{"a logout URL with the port of its scheme", tenant("AUTH0_CALLBACK_URL=https://app.example.com/callback", "AUTH0_LOGOUT_URL=https://app.example.com:443/bye?from=app")},
		{"another program's variables", tenant("SESSION_MANAGER=x", "OIDC=x", "AUTH0_MGMT_TOKEN=x")},
		{"lists with spaces", tenant("TRUSTED_PROXIES=10.0.0.0/8, 192.168.0.0/16", "ID_TOKEN_ALG=RS256, ES256")},
		{"callers with certificates at one of several providers", several("AUTH0_CALLBACK_URL=https://localhost:3000/callback", "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile, "WORK_AUDIENCE=https://api.example", "MTLS_ADDR=:8443")},
		{"bound access tokens", tenant("AUTH0_CALLBACK_URL=https://localhost:3000/callback", "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile, "AUTH0_AUDIENCE=https://api.example", "MTLS_ADDR=:8443", "API_TOKENS=bound", "API_DPOP_NONCE=required")},
		{"https behind a proxy on another port", tenant("AUTH0_CALLBACK_URL=https://app.example.com/callback", "PORT=4000")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := app.LoadConfig(test.env); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDotEnv checks that .env supplies what the environment does not set, and that an error
// quotes nothing from it.
func TestDotEnv(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(text string) {
		if err := os.WriteFile(".env", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("AUTH0_DOMAIN=from-file.example.com\nAUTH0_CLIENT_ID=from-file\nAUTH0_CLIENT_SECRET='with $dollar and space'\nAUTH0_AUDIENCE=\n")
	cfg, err := app.LoadConfig([]string{"AUTH0_CLIENT_ID=from-environment"})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Auth0Domain != "from-file.example.com" || cfg.ClientID != "from-environment" || string(cfg.ClientSecret) != "with $dollar and space" || cfg.Audience != "" {
		t.Errorf("domain %q, client id %q", cfg.Auth0Domain, cfg.ClientID)
	}
	if cfg.Issuer() != "https://from-file.example.com/" {
		t.Errorf("issuer %q", cfg.Issuer())
	}

	write("\ufeffPORT=4000\r\n")
	if cfg, err := app.LoadConfig(nil); err != nil || cfg.Port != 4000 {
		t.Errorf("with a byte order mark: error %v", err)
	}

	for text, line := range map[string]string{
		"AUTH0_CLIENT_SECRET=\"kept-to-ourselves\n":                        ".env: line 1 ",
		"PORT=4000\nkept to ourselves\nLOG_LEVEL=info\n":                   ".env: line 2 ",
		"# ours\n\nPORT=4000\nAUTH0_CLIENT_SECRET='kept\nLOG_LEVEL=info\n": ".env: line 4 ",
	} {
		write(text)
		if _, err := app.LoadConfig(nil); err == nil || strings.Contains(err.Error(), "kept") || !strings.HasPrefix(err.Error(), line) {
			t.Errorf("error %v, want one that begins with %q and quotes nothing of the file", err, line)
		}
	}

	if err := errors.Join(os.Remove(".env"), os.Mkdir(".env", 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := app.LoadConfig(nil); err == nil || !strings.Contains(err.Error(), "cannot be opened (is a directory)") {
		t.Errorf("error %v of a .env that is a directory", err)
	}
}

// TestRunRefuses checks the error for a faulty configuration, which main turns into exit
// status 2.
func TestRunRefuses(t *testing.T) {
	var out bytes.Buffer
	err := app.Run(context.Background(), nil, []string{"PORT=x"}, &out)
	if !errors.Is(err, app.ErrConfiguration) || !strings.Contains(err.Error(), "\n  PORT: ") {
		t.Errorf("error %v", err)
	}
	if err := app.Run(context.Background(), []string{"serv"}, nil, &out); !errors.Is(err, app.ErrConfiguration) {
		t.Errorf("error %v for an unknown command", err)
	}
	if out.Len() > 0 {
		t.Errorf("it printed %q", &out)
	}
}

// TestDataDirectory (CF-12) stores a key in a directory of its own, and none where others
// can write.
func TestDataDirectory(t *testing.T) {
	t.Parallel()
	own := filepath.Join(t.TempDir(), "data")
	apptest.Start(t, "DATA_DIR="+own)
	for path, want := range map[string]os.FileMode{own: os.ModeDir | 0o700, filepath.Join(own, "app-secret-key"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v (%v), want mode %v", path, info, err, want)
		}
	}

	everybodys := filepath.Join(t.TempDir(), "data")
	if err := errors.Join(os.Mkdir(everybodys, 0o700), os.Chmod(everybodys, 0o777)); err != nil {
		t.Fatal(err)
	}
	err := app.Run(t.Context(), nil, []string{"PORT=0", "DEV_PROVIDER_ADDR=127.0.0.1:0", "DATA_DIR=" + everybodys}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "DATA_DIR: ") {
		t.Errorf("run: %v, want a fault of DATA_DIR", err)
	}
	if entries, err := os.ReadDir(everybodys); err != nil || len(entries) > 0 {
		t.Errorf("it was refused, and holds %v (%v)", entries, err)
	}
}

// TestHelp checks that the help text names every variable.
func TestHelp(t *testing.T) {
	var out bytes.Buffer
	if err := app.Run(context.Background(), []string{"help"}, nil, &out); err != nil {
		t.Fatal(err)
	}
	for _, name := range app.VariableNames() {
		if !strings.Contains(out.String(), "  "+name+" ") {
			t.Errorf("help does not name %s", name)
		}
	}
}

// TestNothingListensBeforeItIsRight (CF-06, CF-01) starts the program with a faulty
// configuration: it opens no port.
func TestNothingListensBeforeItIsRight(t *testing.T) {
	t.Parallel()
	op := scriptedop.New(t, scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}})
	port := apptest.FreePort(t)
	env := append(apptest.Env(op), "PORT="+port, "DATA_DIR="+t.TempDir(), "SESSION_IDLE=never")
	ctx, stop := context.WithTimeout(t.Context(), apptest.Patience)
	defer stop()
	if err := app.Run(ctx, nil, env, io.Discard); !errors.Is(err, app.ErrConfiguration) || !strings.Contains(err.Error(), "SESSION_IDLE") {
		t.Errorf("it ends with %v", err)
	}
	if conn, err := net.Dial("tcp", "localhost:"+port); err == nil {
		conn.Close()
		t.Error("something listens")
	}
	if n := op.Calls(scriptedop.Discovery); n > 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}

// TestSigningKeyForms reads private keys in the forms that tools write.
func TestSigningKeyForms(t *testing.T) {
	t.Parallel()
	rsaKey, ecKey, edKey := apptest.NewKey(t, "RSA").(*rsa.PrivateKey), apptest.NewKey(t, "P-256").(*ecdsa.PrivateKey), apptest.NewKey(t, "Ed25519")
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PrivateKey(rsaKey)
	prime256v1 := []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	for name, tt := range map[string]struct {
		file string
		want interface{ Equal(crypto.PrivateKey) bool }
	}{
		"PKCS #8 RSA":       {apptest.WritePKCS8(t, rsaKey), rsaKey},
		"PKCS #8 EC":        {apptest.WritePKCS8(t, ecKey), ecKey},
		"PKCS #8 Ed25519":   {apptest.WritePKCS8(t, edKey), edKey.(ed25519.PrivateKey)},
		"PKCS #1":           {apptest.WritePEM(t, &pem.Block{Type: "RSA PRIVATE KEY", Bytes: pkcs1}), rsaKey},
		"SEC 1":             {apptest.WritePEM(t, &pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), ecKey},
		"openssl ecparam's": {apptest.WritePEM(t, &pem.Block{Type: "EC PARAMETERS", Bytes: prime256v1}, &pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), ecKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := app.LoadConfig(tenant("CLIENT_AUTH=private_key_jwt", "CLIENT_SIGNING_KEY="+tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if !tt.want.Equal(cfg.ParsedSigningKey()) {
				t.Error("another key was read")
			}
		})
	}
}
