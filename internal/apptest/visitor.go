package apptest

import (
	"cmp"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// FormType is the media type of a form.
const FormType = "application/x-www-form-urlencoded"

// Visitor is a browser without JavaScript: it keeps cookies, follows redirects and pages that
// move on by themselves, and submits forms. The test fails where a request is not answered at all.
type Visitor struct {
	T      *testing.T
	App    *App
	Client *http.Client
}

// Answer is a response whose body has been read.
type Answer struct {
	*http.Response
	Body string
}

// Next returns where a browser goes on to by itself, by a redirect or from a page that moves on, or "" if
// it stays.
func (a Answer) Next() string { return cmp.Or(a.Header.Get("Location"), MovesTo(a.Body)) }

// MovesTo returns where a page takes a browser by itself, or "".
func MovesTo(page string) string {
	_, rest, _ := strings.Cut(page, `<meta http-equiv="refresh" content="0; url=`)
	target, _, _ := strings.Cut(rest, `"`)
	return html.UnescapeString(target)
}

// Do sends a request, and follows redirects and pages that move on by themselves.
func (v *Visitor) Do(req *http.Request) Answer {
	v.T.Helper()
	got := v.send(req)
	for range 10 {
		target := MovesTo(got.Body)
		if target == "" {
			return got
		}
		next, err := got.Request.URL.Parse(target)
		if err != nil {
			v.T.Fatal(err)
		}
		got = v.send(v.Request(http.MethodGet, next.String(), nil))
	}
	v.T.Fatalf("%s moves on for ever", got.Request.URL)
	return got
}

func (v *Visitor) send(req *http.Request) Answer {
	v.T.Helper()
	resp, err := v.Client.Do(req)
	if err != nil {
		v.T.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.T.Fatal(err)
	}
	return Answer{resp, string(body)}
}

// Direct sends a request and follows nothing.
func (v *Visitor) Direct(req *http.Request) Answer {
	v.T.Helper()
	still := *v.Client
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return (&Visitor{T: v.T, App: v.App, Client: &still}).send(req)
}

// WhenAvailable sends a request that has no body, and follows nothing. It repeats the request while the
// answer is 503: on a busy machine, the store may be too slow to tell whose session it is.
func (v *Visitor) WhenAvailable(req *http.Request) (got Answer) {
	v.T.Helper()
	Eventually(v.T, req.URL.Path+" is available", func() bool {
		got = v.Direct(req.Clone(req.Context())) // the client adds cookies to what it sends
		return got.StatusCode != http.StatusServiceUnavailable
	})
	return got
}

// Request returns a request to a path of the app, or to an absolute address. headers are
// pairs of a name and a value.
func (v *Visitor) Request(method, address string, form url.Values, headers ...string) *http.Request {
	v.T.Helper()
	if strings.HasPrefix(address, "/") {
		address = v.App.URL + address
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(v.T.Context(), method, address, body)
	if err != nil {
		v.T.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", FormType)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

// Raw returns a request with any body.
func (v *Visitor) Raw(method, address, contentType, body string) *http.Request {
	v.T.Helper()
	req := v.Request(method, address, nil, "Content-Type", contentType)
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	return req
}

// Get opens a page, and follows redirects.
func (v *Visitor) Get(address string, headers ...string) Answer {
	v.T.Helper()
	return v.Do(v.Request(http.MethodGet, address, nil, headers...))
}

// Post sends a form as a page of the app does.
func (v *Visitor) Post(address string, form url.Values, headers ...string) Answer {
	v.T.Helper()
	if form == nil {
		form = url.Values{}
	}
	return v.Do(v.Request(http.MethodPost, address, form, append([]string{"Sec-Fetch-Site", "same-origin"}, headers...)...))
}

// Send posts a body as a page of another site does.
func (v *Visitor) Send(address, contentType, body string) Answer {
	v.T.Helper()
	req := v.Raw(http.MethodPost, address, contentType, body)
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	req.Header.Set("Origin", "https://op.example")
	return v.Direct(req)
}

// At returns the same browser at another node of the app. In production all nodes have one address.
// Here each has a port of its own, which is in the names of its cookies, so the browser's cookies
// come to the node under the names that it looks for.
func (v *Visitor) At(node *App) *Visitor {
	client, home := *v.Client, v.App
	if before, ok := client.Jar.(nodeJar); ok {
		client.Jar, home = before.CookieJar, before.home
	}
	client.Jar = nodeJar{client.Jar, home, node}
	return &Visitor{T: v.T, App: node, Client: &client}
}

// nodeJar holds the cookies of the node at home, and hands them to another node.
type nodeJar struct {
	http.CookieJar
	home, node *App
}

func (j nodeJar) Cookies(u *url.URL) []*http.Cookie {
	return renamed(j.CookieJar.Cookies(u), j.home, j.node)
}

func (j nodeJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	j.CookieJar.SetCookies(u, renamed(cookies, j.node, j.home))
}

func renamed(cookies []*http.Cookie, from, to *App) (list []*http.Cookie) {
	for _, c := range cookies {
		copied := *c
		if base, ok := strings.CutSuffix(c.Name, from.CookieName("")); ok {
			copied.Name = to.CookieName(base)
		}
		list = append(list, &copied)
	}
	return list
}

// CookieName returns the name of a cookie of the app, such as that of its session.
func (a *App) CookieName(base string) string {
	a.T.Helper()
	address, err := url.Parse(a.URL)
	if err != nil {
		a.T.Fatal(err)
	}
	if address.Scheme == "https" {
		return "__Host-" + base
	}
	return base + "_" + cmp.Or(address.Port(), "80")
}

// CookieHeader returns the Cookie header that the browser sends to the app.
func (v *Visitor) CookieHeader() string {
	v.T.Helper()
	address, err := url.Parse(v.App.URL)
	if err != nil {
		v.T.Fatal(err)
	}
	var pairs []string
	for _, c := range v.Client.Jar.Cookies(address) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

// Press presses a button, and returns the page that its form leads to. fields are pairs that
// the visitor fills in.
func (v *Visitor) Press(page Answer, buttonID string, fields ...string) Answer {
	v.T.Helper()
	return v.Do(v.Submission(page, buttonID, fields...))
}

// Submission returns the request that pressing a button sends.
func (v *Visitor) Submission(page Answer, buttonID string, fields ...string) *http.Request {
	v.T.Helper()
	root := Parse(v.T, page.Body)
	button := ByID(root, buttonID)
	if button == nil {
		v.T.Fatalf("%s has no button %q:\n%s", page.Request.URL, buttonID, page.Body)
	}
	form := button.Parent
	if owner := Attribute(button, "form"); owner != "" {
		form = ByID(root, owner)
	}
	for form != nil && form.Data != "form" {
		form = form.Parent
	}
	if form == nil {
		v.T.Fatalf("the button %q is in no form", buttonID)
	}
	values := hiddenFields(form)
	if name := Attribute(button, "name"); name != "" {
		values.Set(name, Attribute(button, "value"))
	}
	for i := 0; i+1 < len(fields); i += 2 {
		values.Set(fields[i], fields[i+1])
	}
	if !strings.EqualFold(Attribute(form, "method"), http.MethodPost) {
		return v.Request(http.MethodGet, v.action(page, form)+"?"+values.Encode(), nil, "Sec-Fetch-Site", "same-origin")
	}
	return v.Request(http.MethodPost, v.action(page, form), values, "Sec-Fetch-Site", "same-origin")
}

// SubmitForm submits the only form of a page of another site, as a script of that page does.
func (v *Visitor) SubmitForm(page Answer) Answer {
	v.T.Helper()
	form := Find(Parse(v.T, page.Body), func(n *html.Node) bool { return n.Data == "form" })
	if form == nil {
		v.T.Fatalf("%s has no form:\n%s", page.Request.URL, page.Body)
	}
	origin := page.Request.URL.Scheme + "://" + page.Request.URL.Host
	return v.Do(v.Request(http.MethodPost, v.action(page, form), hiddenFields(form), "Sec-Fetch-Site", "cross-site", "Origin", origin))
}

// action returns the address that a form is sent to.
func (v *Visitor) action(page Answer, form *html.Node) string {
	v.T.Helper()
	address, err := page.Request.URL.Parse(Attribute(form, "action"))
	if err != nil {
		v.T.Fatal(err)
	}
	return address.String()
}

// SignIn opens a page that needs a sign-in, signs in at the development provider as the
// person with this subject, and returns the page that the sign-in ends on.
func (v *Visitor) SignIn(from, subject string) Answer {
	v.T.Helper()
	page := v.Get(from)
	if !strings.HasPrefix(page.Request.URL.String(), v.App.Issuer) {
		v.T.Fatalf("%s leads to %s with %d, not to the provider", from, page.Request.URL.Path, page.StatusCode)
	}
	return v.Press(page, "person-"+subject)
}

// SignedIn reports whether the dashboard opens, once the app can tell.
func (v *Visitor) SignedIn() bool {
	v.T.Helper()
	return v.WhenAvailable(v.Request(http.MethodGet, "/dashboard", nil)).StatusCode == http.StatusOK
}

// RefreshProfile refreshes the profile as htmx does, and returns the card.
func (v *Visitor) RefreshProfile() Answer {
	v.T.Helper()
	return v.Post("/profile/refresh", nil, "HX-Request", "true")
}

// AuthorizationRequest opens a page that needs a sign-in, and returns the address at the
// provider that it leads to.
func (v *Visitor) AuthorizationRequest(from string) string {
	v.T.Helper()
	for range 3 {
		got := v.Direct(v.Request(http.MethodGet, from, nil))
		if from = got.Header.Get("Location"); strings.HasPrefix(from, v.App.Issuer) {
			return from
		}
	}
	v.T.Fatalf("it leads to %q, not to the provider", from)
	return ""
}

// AuthorizationResponse does the same, and returns the address that the provider sends the
// browser back to.
func (v *Visitor) AuthorizationResponse(from string) string {
	v.T.Helper()
	got := v.Direct(v.Request(http.MethodGet, v.AuthorizationRequest(from), nil))
	if got.StatusCode != http.StatusSeeOther {
		v.T.Fatalf("the provider answers %d %s", got.StatusCode, got.Body)
	}
	return got.Header.Get("Location")
}

// Callback opens an address that AuthorizationResponse returned.
func (v *Visitor) Callback(address string) Answer {
	v.T.Helper()
	return v.Direct(v.Request(http.MethodGet, address, nil))
}

// Listen opens the event stream of a page. It must be accepted.
func (v *Visitor) Listen(headers ...string) *Stream {
	v.T.Helper()
	return v.stream(v.Connect(headers...))
}

// ListenToDevices opens the event stream of the page that lists the person's devices.
func (v *Visitor) ListenToDevices(headers ...string) *Stream {
	v.T.Helper()
	return v.stream(v.connect("/events?devices", headers...))
}

func (v *Visitor) stream(resp *http.Response) *Stream {
	v.T.Helper()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		v.T.Fatalf("GET /events answers %d %s\n%s", resp.StatusCode, resp.Header.Get("Content-Type"), v.App.Log)
	}
	l := &Stream{t: v.T, Response: resp, Events: make(chan Event, 100)}
	go l.read()
	return l
}

// Connect asks for the event stream as a page of the app does. The answer is closed when the
// test ends.
func (v *Visitor) Connect(headers ...string) *http.Response {
	v.T.Helper()
	return v.connect("/events", headers...)
}

func (v *Visitor) connect(address string, headers ...string) *http.Response {
	v.T.Helper()
	patient := *v.Client
	patient.Timeout = 0
	headers = append([]string{"Accept", "text/event-stream", "Sec-Fetch-Site", "same-origin"}, headers...)
	resp, err := patient.Do(v.Request(http.MethodGet, address, nil, headers...))
	if err != nil {
		v.T.Fatal(err)
	}
	v.T.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// Metrics returns the samples of /metrics. It checks that they are in the text format of
// Prometheus, that each belongs to the family before it, and that none comes twice.
func (v *Visitor) Metrics() map[string]float64 {
	v.T.Helper()
	got := v.Get("/metrics")
	if got.StatusCode != http.StatusOK || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		v.T.Fatalf("/metrics answers %d %s", got.StatusCode, got.Header.Get("Content-Type"))
	}
	samples, family := make(map[string]float64), ""
	line := regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]+="[^"\\\n]*"(?:, ?)?)*\})? (\S+)$`)
	for text := range strings.Lines(got.Body) {
		text = strings.TrimSuffix(text, "\n")
		if name, ok := strings.CutPrefix(text, "# TYPE "); ok {
			family, _, _ = strings.Cut(name, " ")
		}
		if strings.HasPrefix(text, "#") {
			continue
		}
		parts := line.FindStringSubmatch(text)
		if parts == nil {
			v.T.Fatalf("%q is no sample", text)
		}
		value, err := strconv.ParseFloat(parts[3], 64)
		if err != nil {
			v.T.Fatalf("%q has no value", text)
		}
		if strings.HasPrefix(parts[1], "latchkey_") && !strings.HasPrefix(parts[1], family) {
			v.T.Errorf("%q stands under %s", text, family)
		}
		if _, twice := samples[parts[1]+parts[2]]; twice {
			v.T.Errorf("%q comes twice", text)
		}
		samples[parts[1]+parts[2]] = value
	}
	return samples
}

// CheckHeaders checks the security headers that every answer of the app has, whether it is a
// page or a refusal.
func CheckHeaders(t *testing.T, name string, got Answer) {
	t.Helper()
	for header, want := range map[string]string{
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"X-Frame-Options":              "DENY",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control":                "no-store",
	} {
		if value := got.Header.Get(header); value != want {
			t.Errorf("%s (%d): %s is %q, want %q", name, got.StatusCode, header, value, want)
		}
	}
	if got.Header.Get("Permissions-Policy") == "" || got.Header.Get("X-Request-Id") == "" {
		t.Errorf("%s: no permissions policy or no request id", name)
	}
	for _, header := range []string{"Server", "X-Powered-By", "Access-Control-Allow-Origin", "Strict-Transport-Security"} {
		if value := got.Header.Get(header); value != "" {
			t.Errorf("%s: %s is %q", name, header, value)
		}
	}
	policy := got.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "base-uri 'none'", "frame-ancestors 'none'", "object-src 'none'", "form-action 'self' http://127.0.0.1:"} {
		if !strings.Contains(policy, want) {
			t.Errorf("%s: the policy lacks %q: %s", name, want, policy)
		}
	}
	if strings.Contains(policy, "unsafe-") || strings.Contains(policy, "*") {
		t.Errorf("%s: the policy is loose: %s", name, policy)
	}
}
