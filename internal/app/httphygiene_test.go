package app_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
)

// TestHTTPHygiene (HB-26) sends requests that two readers could take for two different ones.
func TestHTTPHygiene(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	host := strings.TrimPrefix(a.URL, "http://")
	for name, c := range map[string]struct {
		request string
		want    []int
	}{
		"a plain one":            {"GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n", []int{200}},
		"two lengths":            {"POST /logout HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", []int{400}},
		"no such encoding":       {"POST /logout HTTP/1.1\r\nHost: " + host + "\r\nTransfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n", []int{400, 501}},
		"a space in a header":    {"GET / HTTP/1.1\r\nHost : " + host + "\r\n\r\n", []int{400}},
		"two hosts":              {"GET / HTTP/1.1\r\nHost: " + host + "\r\nHost: evil.example\r\n\r\n", []int{400}},
		"no host":                {"GET / HTTP/1.1\r\n\r\n", []int{400}},
		"another's whole URI":    {"GET http://evil.example/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n", []int{421}},
		"our whole URI":          {"GET " + a.URL + "/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", []int{200}},
		"TRACE":                  {"TRACE / HTTP/1.1\r\nHost: " + host + "\r\n\r\n", []int{405}},
		"CONNECT":                {"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", []int{400, 404, 405, 421}},
		"an upgrade to h2c":      {"GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", []int{200}},
		"a method in the query":  {"POST /?_method=GET HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 0\r\n\r\n", []int{405}},
		"a method in a header":   {"GET /logout HTTP/1.1\r\nHost: " + host + "\r\nX-HTTP-Method-Override: POST\r\n\r\n", []int{303}},
		"a NUL in a header":      {"GET / HTTP/1.1\r\nHost: " + host + "\r\nX-A: a\x00b\r\n\r\n", []int{400}},
		"a bare CR in a header":  {"GET / HTTP/1.1\r\nHost: " + host + "\r\nX-A: a\rb\r\n\r\n", []int{400}},
		"a control in the path":  {"GET /\x01 HTTP/1.1\r\nHost: " + host + "\r\n\r\n", []int{400}},
		"a version that is none": {"GET / HTTP/9.9\r\nHost: " + host + "\r\n\r\n", []int{400, 505}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", host)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(apptest.Patience)); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, c.request)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if slices.Contains(c.want, resp.StatusCode) {
				return
			}
			t.Errorf("it is answered %d, want %v", resp.StatusCode, c.want)
		})
	}
}
