package main

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net/textproto"
	"os"
	"path/filepath"
	"sync"
	"time"

	wire "github.com/emersion/go-milter"
	_ "modernc.org/sqlite" // without cgo, as in package store

	"milterd/auth"
	"milterd/directory"
	"milterd/intake"
	"milterd/mailparse"
	"milterd/milter"
	"milterd/notify"
	"milterd/signature/pdf"
	"milterd/store"
	"milterd/workflow"
)

// deskMark is in the environment of the process that is the desk: its folder.
const deskMark = "BENCH_MAIL_DESK"

const users = `[[user]]
mail = "jane@corp.test"
name = "Jane Doe"
[[user]]
mail = "john.doe@corp.test"
name = "John Doe"
`

// runDesk opens milterd's door in front of a real desk whose jobs nobody does, until
// standard input ends. It answers each line with what the parts of the mails since
// the last one took.
func runDesk(dir string) error {
	ctx := context.Background()
	st, err := store.Open(ctx, store.Config{URL: "sqlite:" + filepath.Join(dir, "bench.db")})
	if err != nil {
		return err
	}
	defer st.Close()
	path := filepath.Join(dir, "users.toml")
	if err := os.WriteFile(path, []byte(users), 0o600); err != nil {
		return err
	}
	people, err := directory.Open(path)
	if err != nil {
		return err
	}
	keys, err := auth.NewKeys(make([]byte, 32))
	if err != nil {
		return err
	}
	db, err := openBare(dir)
	if err != nil {
		return err
	}
	var inspected, opened clock
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	door := &milter.Door{Domain: "sign.corp.test", Log: log, Intake: least{dir: dir, db: db, Intake: &intake.Intake{
		Config:    intake.Config{Domain: "sign.corp.test", Level: workflow.Standard},
		Directory: people, Inspector: inspector{&inspected}, Log: log,
		Desk: opener{&workflow.Desk{Store: st, Secrets: keys, Log: log, Now: time.Now, Policy: workflow.Policy{
			URL: "https://sign.corp.test", Deadline: 24 * time.Hour, Retention: 24 * time.Hour, MailLimit: 50 << 20,
			Repeat: time.Hour, MailSize: notify.MailSize}}, &opened},
	}}}
	ln, err := milter.Listen("unix:"+filepath.Join(dir, "milter.sock"), 0o666)
	if err != nil {
		return err
	}
	go door.Serve(ln)
	if ln, err = milter.Listen("unix:"+filepath.Join(dir, "idle.sock"), 0o666); err != nil {
		return err
	}
	go idleDoor().Serve(ln)
	fmt.Println("ready")
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		fmt.Printf("inspection %s, store %s\n", inspected.read(), opened.read())
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return door.Shutdown(ctx)
}

// idleDoor is a milter that asks for as little as milterd does, and does nothing:
// what is left is Postfix's and the system's.
func idleDoor() *wire.Server {
	return &wire.Server{NewMilter: func() wire.Milter { return idle{} },
		Protocol: wire.OptNoConnect | wire.OptNoHelo | wire.OptNoUnknown | wire.OptNoData |
			wire.OptNoMailReply | wire.OptNoHeaderReply | wire.OptNoBodyReply}
}

// idle accepts each mail at the end of its header.
type idle struct{ wire.NoOpMilter }

func (idle) MailFrom(string, *wire.Modifier) (wire.Response, error)       { return nil, nil }
func (idle) Header(string, string, *wire.Modifier) (wire.Response, error) { return nil, nil }
func (idle) Headers(textproto.MIMEHeader, *wire.Modifier) (wire.Response, error) {
	return wire.RespAccept, nil
}

// clock keeps how long a part of each mail took.
type clock struct {
	mu   sync.Mutex
	took []time.Duration
}

func (c *clock) add(start time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took = append(c.took, time.Since(start))
}

// read sums up, and begins anew.
func (c *clock) read() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.took) == 0 {
		return "never"
	}
	defer func() { c.took = nil }()
	return fmt.Sprintf("median %s p99 %s", ms(percentile(c.took, 0.5)), ms(percentile(c.took, 0.99)))
}

// inspector and opener are the real ones, with a clock.
type inspector struct{ *clock }

func (i inspector) Inspect(ctx context.Context, b []byte) (intake.Finding, error) {
	defer i.add(time.Now())
	info, err := pdf.InspectInChild(ctx, b)
	if err != nil {
		return intake.Finding{}, err
	}
	return intake.Finding{Pages: info.Pages, Signed: info.Signed, Notes: info.Notes}, nil
}

type opener struct {
	*workflow.Desk
	took *clock
}

func (o opener) Open(ctx context.Context, op workflow.Opening) (*workflow.Session, bool, error) {
	defer o.took.add(time.Now())
	return o.Desk.Open(ctx, op)
}

// least is an Intake that takes the mail to floor@ with the least that any
// milter can do that answers for a mail: it writes it to a file, and flushes that.
// For the mail to bare@ it does the least that keeps decisions 2, 3, 13 and 15
// of docs/design.md: it parses the mail, has its document inspected in a child,
// and writes both to SQLite in one transaction. There is no session, no job, no
// audit trail, and nobody is looked up.
type least struct {
	milter.Intake
	dir string
	db  *sql.DB
}

// openBare opens the database for the mail to bare@, set as package store does.
func openBare(dir string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "bare.db")+"?_txlock=immediate&_journal_mode=WAL&_synchronous=FULL")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	_, err = db.Exec("CREATE TABLE mails (id INTEGER PRIMARY KEY, data BLOB); CREATE TABLE contents (id INTEGER PRIMARY KEY, data BLOB)")
	return db, err
}

// keep takes a mail to bare@.
func (l least) keep(ctx context.Context, raw []byte) error {
	r, err := mailparse.Parse(raw, mailparse.Limits{})
	if err != nil {
		return err
	}
	content := r.Documents[0].Content
	if _, err := pdf.InspectInChild(ctx, content); err != nil {
		return err
	}
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO mails (data) VALUES (?)", raw); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO contents (data) VALUES (?)", content); err != nil {
		return err
	}
	return tx.Commit()
}

// Recipient implements milter.Intake.
func (l least) Recipient(ctx context.Context, e milter.Envelope, recipient string) (milter.Verdict, error) {
	if recipient == floor || recipient == bare {
		return milter.Take, nil
	}
	return l.Intake.Recipient(ctx, e, recipient)
}

// Message implements milter.Intake.
func (l least) Message(ctx context.Context, e milter.Envelope, raw []byte) error {
	switch e.Recipients[0] {
	case floor:
		return l.write(raw)
	case bare:
		return l.keep(ctx, raw)
	}
	return l.Intake.Message(ctx, e, raw)
}

// write takes a mail to floor@.
func (l least) write(raw []byte) error {
	f, err := os.CreateTemp(l.dir, "mail")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(raw); err != nil {
		return err
	}
	return f.Sync()
}
