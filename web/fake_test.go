package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/auth"
	"milterd/workflow"
)

// fake stands in for desk and mailbox: one session for each link, and 246810
// is always the code. The tests with the real ones are in flow_test.go.
type fake struct {
	mu       sync.Mutex
	visits   map[string]workflow.Visit // by token
	helds    map[string]*workflow.Held // by token
	confirm  error                     // what confirming answers
	content  map[string][]byte         // by document name
	away     error                     // the timestamp authority
	broken   error                     // what every call answers
	cookies  map[string]string         // value to mail
	signed   []workflow.Appearance
	shown    []workflow.Shown
	declined []string
	agents   []string
	changes  int      // calls that change something
	foreign  []string // visits of other sites, as Foreign heard of them
	own
}

const fakeCode = "246810"

func (f *fake) Visit(_ context.Context, token string) (workflow.Visit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return workflow.Visit{}, f.broken
	}
	v, ok := f.visits[token]
	if !ok {
		return v, refusal("unknown-link", "This link is not known here.", nil)
	}
	s := *v.Session // a copy, as the store gives
	s.People = append([]workflow.Participant(nil), s.People...)
	return workflow.Visit{Session: &s, Person: v.Person}, nil
}

func (f *fake) View(_ context.Context, v workflow.Visit, document int, _ string) ([]byte, workflow.Revision, error) {
	d := v.Session.Documents[document]
	b, ok := f.content[d.Name]
	if !ok {
		return nil, workflow.Revision{}, refusal("gone", "Deleted.", nil)
	}
	return b, d.Head(), nil
}

func (f *fake) change(v workflow.Visit, fn func(*workflow.Session, *workflow.Participant)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes++
	for _, known := range f.visits {
		if known.Session.ID == v.Session.ID {
			fn(known.Session, &known.Session.People[v.Person])
			return
		}
	}
}

func (f *fake) Sign(_ context.Context, v workflow.Visit, shown []workflow.Shown, a workflow.Appearance, _ string, consume workflow.Consume) error {
	if v.Who().State != workflow.Waiting {
		return refusal("already-decided", "Decided.", nil)
	}
	var digests []workflow.Digest
	for _, s := range shown {
		digests = append(digests, s.SHA256)
	}
	if _, err := consume(nil, digests); err != nil {
		return err
	}
	f.change(v, func(_ *workflow.Session, p *workflow.Participant) {
		p.State, p.Decided = workflow.Signing, time.Now()
		f.signed, f.shown = append(f.signed, a), shown
	})
	return nil
}

func (f *fake) Decline(_ context.Context, v workflow.Visit, comment, _ string) error {
	f.change(v, func(s *workflow.Session, p *workflow.Participant) {
		s.State, s.Ended = workflow.Declined, time.Now()
		p.State, p.Decided, p.Comment = workflow.Refused, time.Now(), comment
		f.declined = append(f.declined, comment)
	})
	return nil
}

func (f *fake) Foreign(_ context.Context, v workflow.Visit, client string, err error) {
	var r *workflow.Refusal
	if !errors.As(err, &r) {
		panic(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.foreign = append(f.foreign, v.Who().Mail+" "+r.Reason)
}

func (f *fake) Ready(context.Context) error { return f.away }

func (f *fake) RequestCode(_ context.Context, v workflow.Visit, _ string) (time.Time, error) {
	f.change(v, func(*workflow.Session, *workflow.Participant) {})
	return time.Now().Add(10 * time.Minute), nil
}

func (f *fake) Open(_ context.Context, v workflow.Visit, code, _, agent string) (string, time.Time, error) {
	f.change(v, func(*workflow.Session, *workflow.Participant) { f.agents = append(f.agents, agent) })
	if code != fakeCode {
		return "", time.Time{}, refusal("wrong-code", "The code is wrong; you have 4 more tries.", nil)
	}
	value := strings.Repeat("c", 42) + string(rune('0'+len(f.cookies)))
	f.cookies[value] = v.Who().Mail
	return value, time.Now().Add(90 * 24 * time.Hour), nil
}

func (f *fake) Remembered(_ context.Context, v workflow.Visit, cookie string) (string, bool) {
	return "", f.cookies[cookie] == v.Who().Mail
}

func (f *fake) ForSigning(_ context.Context, v workflow.Visit, code, _ string) (workflow.Consume, error) {
	if code != fakeCode {
		f.change(v, func(*workflow.Session, *workflow.Participant) {})
		return nil, refusal("wrong-code", "The code is wrong; you have 3 more tries.", nil)
	}
	return func(workflow.Tx, []workflow.Digest) (workflow.Proof, error) {
		return workflow.Proof{Method: "mailed code"}, nil
	}, nil
}

func (f *fake) Waiting(_ context.Context, token string) (*workflow.Held, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, ok := f.helds[token]
	switch {
	case f.broken != nil:
		return nil, f.broken
	case !ok:
		return nil, refusal("unknown-link", "This link is not known here.", nil)
	case h.State != workflow.HeldWaiting:
		return nil, refusal(string(h.State), "Decided.", nil)
	}
	return h, nil
}

func (f *fake) end(token string, state workflow.HeldState) error {
	h, err := f.Waiting(context.Background(), token)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes++
	if f.confirm != nil && state == workflow.HeldConfirmed {
		return f.confirm
	}
	h.State = state
	return nil
}

func (f *fake) Confirmed(ctx context.Context, token string, seen int, client string) error {
	if h, err := f.Waiting(ctx, token); err == nil && seen != len(h.Recipients) {
		return &workflow.Refusal{Code: 450, Reason: "held-changed", Text: "More people were added."}
	}
	return f.end(token, workflow.HeldConfirmed)
}

func (f *fake) Denied(_ context.Context, token string) error {
	return f.end(token, workflow.HeldDenied)
}

// heldMail is a mail in Max's name.
func heldMail() *workflow.Held {
	return &workflow.Held{ID: "heldmail", Person: workflow.Person{Mail: "max.weber@corp.test", Name: "Max Weber", Language: "de"},
		Recipients: []string{"jane.doe@sign.corp.test", "ada.byron@sign.corp.test"},
		Received:   time.Now().Add(-time.Hour), State: workflow.HeldWaiting, Subject: "Urgent: call <b>+1 555</b> and sign", Level: workflow.Standard,
		Asks:      []workflow.Person{{Mail: "jane.doe@corp.test", Name: "Jane Doe"}, {Mail: "ada.byron@corp.test", Name: "Ada Byron"}},
		Documents: []workflow.HeldDocument{{Name: "lease agreement for the workshop in the old town, second draft.pdf", Size: 123456, SHA256: workflow.Digest{1, 2, 3}}}}
}

// token makes a link's token out of a word.
func token(word string) string { return (word + strings.Repeat("-", 22))[:22] }

// sample reads a document of testdata.
func sample(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// session is a session of two signatories and a copy; who asks is Ada.
func session(t *testing.T, id string, names ...string) *workflow.Session {
	t.Helper()
	s := &workflow.Session{
		ID: id, State: workflow.Open, Level: workflow.Standard, Delivery: workflow.Attached,
		Thread:   workflow.Thread{Subject: "Lease agreement for the workshop"},
		Message:  "Hello Jane,\nhere is the lease as we discussed it. Please sign by Friday.\nAda",
		Created:  time.Now().Add(-3 * time.Hour),
		Deadline: time.Now().Add(12*24*time.Hour + time.Hour),
		People: []workflow.Participant{
			{Person: workflow.Person{Mail: "ada.byron@corp.test", Name: "Ada Byron", Language: "en"}, Sender: true},
			{Person: workflow.Person{Mail: "jane.doe@corp.test", Name: "Jane Doe", Language: "en"}, Signatory: true, State: workflow.Waiting},
			{Person: workflow.Person{Mail: "max.weber@corp.test", Name: "Max Weber", Language: "de"}, Signatory: true, State: workflow.Waiting},
			{Person: workflow.Person{Mail: "marie.curie@corp.test", Name: "Marie Curie", Language: "fr"}, Copy: true},
		},
	}
	for _, name := range names {
		b := sample(t, name)
		pages := bytes.Count(b, []byte("/Type/Page/")) // as all samples write it
		s.Documents = append(s.Documents, workflow.Document{Name: name, Kind: workflow.Mailed, Pages: max(pages, 1),
			Revisions: []workflow.Revision{{Kind: workflow.Original, Size: int64(len(b)), SHA256: sha256.Sum256(b), Person: -1}}})
	}
	return s
}

// stage is a site before fakes.
type stage struct {
	*fake
	*httptest.Server
	log    *bytes.Buffer
	proofs auth.Proofs // that the site was built with
	remote *fakeRemote
	phones *fakePhones
}

// locked makes a buffer safe for the server's many goroutines.
type locked struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func newStage(t *testing.T) *stage {
	t.Helper()
	f := &fake{visits: map[string]workflow.Visit{}, content: map[string][]byte{}, cookies: map[string]string{}, helds: map[string]*workflow.Held{}, own: newOwn()}
	for _, name := range []string{"contract.pdf", "annex.pdf", "scan.pdf"} {
		f.content[name] = sample(t, name)
	}
	st := &stage{fake: f, log: &bytes.Buffer{}, proofs: auth.DefaultProofs(), remote: newFakeRemote(t, f), phones: &fakePhones{fake: f, levels: []workflow.Level{workflow.Qualified}}}
	st.Server = serve(t, Config{Desk: f, Mailbox: f, Held: f, Passkeys: fakePasskeys{f}, Enrolments: fakeEnrolments{f}, TOTP: fakeTOTP{f}, Credentials: f, Remote: st.remote, Phones: st.phones, Card: true,
		Proofs: st.proofs, Organisation: "Example GmbH", Domain: "sign.corp.test",
		Log: slog.New(slog.NewTextHandler(locked{&sync.Mutex{}, st.log}, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	return st
}

// serve runs a site on loopback under the name localhost, which browsers trust
// as they do https.
func serve(t *testing.T, c Config, more ...func(*Config)) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	c.URL = "http://" + strings.Replace(srv.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	for _, fn := range more { // that need the address
		fn(&c)
	}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	srv.Config = NewServer(h, c.Log)
	srv.Start()
	t.Cleanup(srv.Close)
	srv.URL = c.URL
	return srv
}

// post calls the interface as the page does.
func (st *stage) post(t *testing.T, path, body string, change ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest("POST", st.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(requestHeader, "1")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", st.URL)
	for _, fn := range change {
		fn(r)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	return res, b.String()
}

var errSecret = errors.New("dial tcp 10.1.2.3:5432: password rejected")
