package authn

import "strings"

// Device names the browser and the system that a User-Agent header claims, for a
// person to tell their own sessions apart: "Firefox on Linux". It is no evidence of
// anything.
func Device(userAgent string) string {
	browser := firstOf(userAgent,
		// The order matters: most browsers also claim to be those they stem from.
		"Edg/", "Edge", "EdgA/", "Edge", "EdgiOS/", "Edge", "OPR/", "Opera", "SamsungBrowser/", "Samsung Internet",
		"Firefox/", "Firefox", "FxiOS/", "Firefox", "CriOS/", "Chrome", "Chrome/", "Chrome", "Safari/", "Safari", "curl/", "curl")
	system := firstOf(userAgent,
		"Android", "Android", "iPhone", "iPhone", "iPad", "iPad", "CrOS", "ChromeOS",
		"Mac OS X", "macOS", "Windows", "Windows", "Linux", "Linux")
	switch {
	case browser == "" && system == "":
		return "Unknown device"
	case browser == "":
		return "Unknown browser on " + system
	case system == "":
		return browser
	default:
		return browser + " on " + system
	}
}

// firstOf takes pairs of a mark and a name and returns the name of the first mark
// that the text holds, or "".
func firstOf(text string, pairs ...string) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		if strings.Contains(text, pairs[i]) {
			return pairs[i+1]
		}
	}
	return ""
}
