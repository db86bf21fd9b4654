package authn_test

import (
	"strings"
	"testing"

	"latchkey/authn"
)

func TestDevice(t *testing.T) {
	t.Parallel()
	const (
		windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) "
		mac     = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) "
		linux   = "Mozilla/5.0 (X11; Linux x86_64) "
		android = "Mozilla/5.0 (Linux; Android 10; K) "
		iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) "
		ipad    = "Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) "
		webkit  = "AppleWebKit/537.36 (KHTML, like Gecko) "
		chrome  = webkit + "Chrome/140.0.0.0 Safari/537.36"
		mobile  = webkit + "Chrome/140.0.0.0 Mobile Safari/537.36"
	)
	for userAgent, want := range map[string]string{
		windows + chrome: "Chrome on Windows",
		mac + chrome:     "Chrome on macOS",
		linux + chrome:   "Chrome on Linux",
		android + mobile: "Chrome on Android",
		iphone + webkit + "CriOS/140.0 Mobile/15E148 Safari/604.1":                     "Chrome on iPhone",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) " + chrome:                           "Chrome on ChromeOS",
		windows + chrome + " Edg/140.0.0.0":                                            "Edge on Windows",
		android + mobile + " EdgA/140.0.0.0":                                           "Edge on Android",
		iphone + webkit + "Version/18.0 EdgiOS/140.0 Mobile/15E148 Safari/604.1":       "Edge on iPhone",
		windows + chrome + " OPR/120.0.0.0":                                            "Opera on Windows",
		android + webkit + "SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36": "Samsung Internet on Android",
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":       "Firefox on Linux",
		"Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0":         "Firefox on Android",
		iphone + webkit + "FxiOS/140.0 Mobile/15E148 Safari/605.1.15":                  "Firefox on iPhone",
		mac + webkit + "Version/18.0 Safari/605.1.15":                                  "Safari on macOS",
		ipad + webkit + "Version/18.0 Mobile/15E148 Safari/604.1":                      "Safari on iPad",
		"curl/8.14.1":                          "curl",
		"":                                     "Unknown device",
		"<script>alert(1)</script>":            "Unknown device",
		strings.Repeat("x", 1<<20) + "Windows": "Unknown browser on Windows",
	} {
		if got := authn.Device(userAgent); got != want {
			t.Errorf("Device(%.120q) is %q, want %q", userAgent, got, want)
		}
	}
}
