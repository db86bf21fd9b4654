package authn

import (
	"cmp"
	"strings"
)

// Device is the browser and the system that a User-Agent header claims, so that people can tell their
// sessions apart. It proves nothing. What is not known is empty.
type Device struct{ Browser, System string }

// AndroidTablet is the one System that is not a name.
const AndroidTablet = "Android tablet"

const (
	unknownDevice  = "Unknown device"
	unknownBrowser = "Unknown browser"
)

// DeviceOf returns the device of a User-Agent header.
func DeviceOf(userAgent string) Device {
	browser := firstOf(userAgent,
		// The order matters: most browsers also claim to be the ones they derive from.
		"Edg/", "Edge", "EdgA/", "Edge", "EdgiOS/", "Edge", "OPR/", "Opera", "SamsungBrowser/", "Samsung Internet",
		"Firefox/", "Firefox", "FxiOS/", "Firefox", "CriOS/", "Chrome", "Chrome/", "Chrome", "Safari/", "Safari", "curl/", "curl")
	system := firstOf(userAgent,
		"Android", "Android", "iPhone", "iPhone", "iPad", "iPad", "CrOS", "ChromeOS",
		"Mac OS X", "macOS", "Windows", "Windows", "Linux", "Linux")
	if system == "Android" && !strings.Contains(userAgent, "Mobile") {
		system = AndroidTablet // of the Android browsers, only those of phones say Mobile
	}
	return Device{browser, system}
}

// String returns the label that the record of a session has, and that operators read: "Firefox on
// Linux".
func (d Device) String() string {
	switch {
	case d == Device{}:
		return unknownDevice
	case d.System == "":
		return d.Browser
	default:
		return cmp.Or(d.Browser, unknownBrowser) + " on " + d.System
	}
}

// parseDevice returns the device with a label.
func parseDevice(label string) Device {
	if label == unknownDevice {
		return Device{}
	}
	browser, system, _ := strings.Cut(label, " on ")
	if browser == unknownBrowser {
		browser = ""
	}
	return Device{browser, system}
}

// firstOf takes pairs of a mark and a name, and returns the name of the first mark that the
// text contains, or "".
func firstOf(text string, pairs ...string) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		if strings.Contains(text, pairs[i]) {
			return pairs[i+1]
		}
	}
	return ""
}

// DeviceKind is the kind of a device, for the icon beside its name.
type DeviceKind string

// The kinds.
const (
	DeviceDesktop DeviceKind = "desktop"
	DevicePhone   DeviceKind = "phone"
	DeviceTablet  DeviceKind = "tablet"
	DeviceUnknown DeviceKind = "unknown"
)

// Kind returns the kind of a device, which follows from its system.
func (d Device) Kind() DeviceKind {
	switch d.System {
	case "iPhone", "Android":
		return DevicePhone
	case "iPad", AndroidTablet:
		return DeviceTablet
	case "macOS", "Windows", "Linux", "ChromeOS":
		return DeviceDesktop
	default:
		return DeviceUnknown
	}
}
