package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

// app is the program as a test sees it: run, with its own port, data directory and
// log.
type app struct {
	t *testing.T
	// url is where it says that it listens, and issuer where people sign in.
	url, issuer string
	log         *logBuffer
	dataDir     string
	stop        func() error
}

// startApp runs the program, with env beside what a test needs, and waits until it
// listens.
func startApp(t *testing.T, env ...string) *app {
	t.Helper()
	a := &app{t: t, log: newLogBuffer(), dataDir: t.TempDir()}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	env = append([]string{"PORT=0", "LOG_FORMAT=json", "LOG_LEVEL=debug", "DATA_DIR=" + a.dataDir}, env...)
	go func() { ended <- Run(ctx, nil, env, a.log) }()
	a.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			t.Error("the program does not stop")
			return nil
		}
	})
	t.Cleanup(func() {
		if err := a.stop(); err != nil {
			t.Errorf("the program ended with: %v", err)
		}
	})
	select {
	case line := <-a.log.listening:
		a.url, a.issuer = line.URL, line.Issuer
	case err := <-ended:
		ended <- nil
		t.Fatalf("the program ended with: %v", err)
	case <-time.After(patience):
		t.Fatal("the program does not start")
	}
	return a
}

// listeningLine is the log line that says where the app is.
type listeningLine struct {
	Msg    string `json:"msg"`
	URL    string `json:"url"`
	Issuer string `json:"issuer"`
}

// logBuffer keeps what the program writes and tells when it listens.
type logBuffer struct {
	mu        sync.Mutex
	text      bytes.Buffer
	listening chan listeningLine
}

func newLogBuffer() *logBuffer { return &logBuffer{listening: make(chan listeningLine, 1)} }

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range bytes.Lines(p) {
		var l listeningLine
		if json.Unmarshal(line, &l) == nil && l.Msg == "listening" {
			b.listening <- l
		}
	}
	return b.text.Write(p)
}

// count says how often the program has written a text.
func (b *logBuffer) count(text string) int { return strings.Count(b.String(), text) }

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// visitor is a browser without JavaScript: cookies, redirects and forms.
type visitor struct {
	t      *testing.T
	app    *app
	client *http.Client
}

func (a *app) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return &visitor{t: a.t, app: a, client: &http.Client{Jar: jar, Timeout: patience}}
}

// answer is a response whose body has been read.
type answer struct {
	*http.Response
	body string
}

// do sends a request and follows redirects.
func (v *visitor) do(req *http.Request) answer {
	v.t.Helper()
	resp, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer{resp, string(body)}
}

// direct sends a request and follows nothing.
func (v *visitor) direct(req *http.Request) answer {
	v.t.Helper()
	still := *v.client
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return (&visitor{t: v.t, app: v.app, client: &still}).do(req)
}

// request makes a request to the app, or to an absolute address. headers are pairs.
func (v *visitor) request(method, address string, form url.Values, headers ...string) *http.Request {
	v.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = v.app.url + address
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(v.t.Context(), method, address, body)
	if err != nil {
		v.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

func (v *visitor) get(address string, headers ...string) answer {
	v.t.Helper()
	return v.do(v.request(http.MethodGet, address, nil, headers...))
}

// post sends a form as the app's own page does.
func (v *visitor) post(address string, form url.Values, headers ...string) answer {
	v.t.Helper()
	if form == nil {
		form = url.Values{}
	}
	return v.do(v.request(http.MethodPost, address, form, append([]string{"Sec-Fetch-Site", "same-origin"}, headers...)...))
}

// await asks until the app answers with a status.
func (a *app) await(path string, status int) {
	a.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for a.visitor().get(path).StatusCode != status {
		if time.Now().After(deadline) {
			a.t.Fatalf("%s does not become %d", path, status)
		}
		<-tick.C
	}
}
