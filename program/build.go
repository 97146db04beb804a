// Package program puts the rooms together: it loads what the configuration
// names, builds the desk and its doors, serves until it is told to stop, and
// drains. `milterd serve` and `milterd demo` run the very same Program.
//
// Limits: it knows no rule of the mission; what it decides is which part gets
// which other part, and in which order they start and stop.
// Reference: sd_notify(3), systemd.service(5); docs/design.md.
package program

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"milterd/auth"
	"milterd/config"
	"milterd/convert"
	"milterd/directory"
	"milterd/intake"
	"milterd/intake/origin"
	"milterd/mailparse"
	"milterd/milter"
	"milterd/notify"
	"milterd/pki"
	"milterd/pki/trustlist"
	"milterd/postfix/returned"
	"milterd/report"
	"milterd/signer"
	"milterd/signer/remote"
	"milterd/store"
	"milterd/web"
	"milterd/workflow"
)

// repeatWindow is how long the same mail opens nothing twice: longer than
// Postfix keeps trying (maximal_queue_lifetime, 5 days), and longer than a
// signed mail is fresh, so that a replayed one opens nothing.
const repeatWindow = origin.Fresh + 24*time.Hour

// Program is the whole of milterd, built and not yet running.
type Program struct {
	Config    *config.Config
	Store     *store.Store
	Desk      *workflow.Desk
	Directory directory.Backend
	Authority *pki.Authority
	Signer    *signer.Signer
	// Enrolments take new devices in; an administrator approves them here.
	Enrolments *auth.Enrolments

	log         *slog.Logger
	time        pki.Timestamper
	metrics     *metrics
	door        *milter.Door
	pages       httpHandler
	certificate *certificate       // nil for plain HTTP
	converter   *convert.Converter // nil where nothing is converted
	state       state
	lists       *trustlist.Lists // nil for none
	acceptors   map[workflow.Level]workflow.Acceptor
	trust       trusts            // whose certificates count as qualified; empty for nobody's
	advanced    trusts            // whose certificates count at level Advanced beside the organisation's own
	sealed      pki.Identity      // what documents are sealed with
	remote      *remote.Providers // nil where level Qualified is not offered
	phones      *remote.Phones    // nil where no OpenOTP server is configured
}

// Paths inside the data folder.
func keysDir(c *config.Config) string    { return filepath.Join(c.Data, "keys") }
func masterFile(c *config.Config) string { return filepath.Join(c.Data, "master.key") }

// whereKeys says where the authority's keys are.
func whereKeys(c *config.Config) pki.Keys {
	return pki.Keys{Passphrase: c.Keys.Passphrase, Token: c.Keys.Token, Module: c.Keys.Module, Label: c.Keys.Label, PINFile: c.Keys.PINFile}
}

// Roots are the root certificates that results are judged by: the one that the
// organisation's authority has now first, then those that it had.
func Roots(c *config.Config) ([]*x509.Certificate, error) {
	a, err := pki.Open(pki.Config{Dir: keysDir(c), Keys: whereKeys(c)})
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return a.RootCertificates(), nil
}

// Build loads keys, directory and database and puts the rooms together. It
// opens no door: that is Run's. The error names the file or server at fault.
func Build(ctx context.Context, c *config.Config, log *slog.Logger) (_ *Program, err error) {
	p := &Program{Config: c, log: log, metrics: newMetrics(), acceptors: map[workflow.Level]workflow.Acceptor{}}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	master, err := readMaster(masterFile(c))
	if err != nil {
		return nil, err
	}
	keys, err := auth.NewKeys(master)
	if err != nil {
		return nil, err
	}
	database := c.Database.URL
	if path := c.SQLite(); path != "" {
		database = "sqlite:" + path
	}
	if p.Store, err = store.Open(ctx, store.Config{URL: database}); err != nil {
		return nil, err
	}
	p.metrics.watch(p.Store)
	if p.Authority, err = pki.Open(pki.Config{Dir: keysDir(c), Keys: whereKeys(c), URL: c.URL, Validity: c.Certificates.Lifetime.Duration, Register: p.Store}); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if err = p.Authority.Enter(ctx); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if p.Directory, err = OpenDirectory(ctx, c, log); err != nil {
		return nil, err
	}
	if err = p.people(keys); err != nil {
		return nil, err
	}
	timestamps, gatherer, err := p.timestamps()
	if err != nil {
		return nil, err
	}
	p.time = timestamps
	if err := p.qualified(keys, gatherer); err != nil {
		return nil, err
	}
	if err := p.openOTP(keys, gatherer); err != nil {
		return nil, err
	}
	if p.sealed, err = p.seal(); err != nil {
		return nil, err
	}
	if c.Keys.SealCertificate != "" {
		gatherer = gatherer.With([][]byte{p.sealed.Chain[len(p.sealed.Chain)-1].Raw})
	}
	for _, c := range p.working() {
		p.metrics.age(c.name, c.Ends)
	}
	notifier, err := p.notifier(master)
	if err != nil {
		return nil, err
	}
	if c.HTTP.Certificate != "" {
		if p.certificate, err = loadCertificate(c.HTTP.Certificate, c.HTTP.Key); err != nil {
			return nil, err
		}
		p.metrics.age("pages", func() time.Time { return p.certificate.now.Load().Leaf.NotAfter })
	}
	p.Signer = signer.New(signer.Config{Seal: p.sealed, Organisation: c.Organisation.Name,
		Time: timestamps, ForeignTime: len(c.Timestamps.URLs) > 0, Evidence: gatherer})
	p.Desk = &workflow.Desk{
		Store:     p.Store,
		Signer:    p.Signer,
		Archivist: p.Signer,
		Certifier: p.Authority,
		Acceptors: p.acceptors,
		Reporter:  report.New(report.Config{Organisation: c.Organisation.Name, TSA: c.Timestamps.URLs, Root: p.Authority.RootAddress()}),
		Notifier:  notifier,
		Secrets:   keys,
		Log:       log,
		Now:       time.Now,
		Policy: workflow.Policy{URL: c.URL, Deadline: c.Sessions.Deadline.Duration, Retention: c.Sessions.Retention.Duration,
			MailLimit: int64(c.Limits.Mail), Repeat: repeatWindow, PerHour: c.Senders.PerHour, MailSize: notify.MailSize},
	}
	box, err := returned.New(c.Data, master)
	if err != nil {
		return nil, err
	}
	in := p.intake(box)
	in.Bounces = &intake.Bounces{Mail: notifier, Desk: p.Desk}
	in.Verify = &intake.Verify{Verifier: verifier{p.anchors}, Desk: p.Desk}
	work := milter.DefaultWork
	if len(c.Documents.Convert) > 0 {
		p.converter = convert.New(convert.Config{Program: c.Documents.Soffice, Kinds: c.Documents.Convert, Time: c.Documents.ConvertTime.Duration, Memory: int64(c.Documents.ConvertMemory), Log: log})
		in.Converter = p.converter
		work += intake.ConversionTime
	}
	p.door = &milter.Door{
		Work:    work,
		Domain:  c.Domain,
		Log:     log,
		Meter:   p.metrics.meter(),
		MaxSize: int64(c.Limits.Mail),
		Intake:  in,
	}
	var held web.Held
	if c.Senders.Confirm {
		in.Confirm = &intake.Confirm{Desk: p.Desk}
		held = in
	}
	handler, err := web.New(web.Config{Held: held, Verifier: verifier{p.anchors}, MaxFile: int64(c.Limits.Mail), Desk: p.Desk, Mailbox: &auth.Mailbox{Store: p.Store, Keys: keys, Now: time.Now},
		Remote: p.providers(), Phones: p.phonesOrNil(), Card: c.Qualified.Card, Passkeys: p.Enrolments.Passkeys, Enrolments: p.Enrolments, TOTP: &auth.TOTP{Enrolments: p.Enrolments}, Credentials: p.Store, Proofs: p.proofs(),
		Organisation: c.Organisation.Name, URL: c.URL, Domain: c.Domain, Proxies: c.HTTP.Forwarders(), Log: log,
		Mount: map[string]httpHandler{"/pki/": p.Authority.Handler()}})
	if err != nil {
		return nil, err
	}
	p.pages = p.metrics.web(handler)
	return p, nil
}

// providers are those that sign remotely; nil for none.
func (p *Program) providers() web.Remote {
	if p.remote == nil || len(p.remote.Clients) == 0 {
		return nil
	}
	return p.remote
}

// phonesOrNil is a nil interface where there are none.
func (p *Program) phonesOrNil() web.Phones {
	if p.phones == nil {
		return nil
	}
	return p.phones
}

// intake puts the room behind the doors together.
func (p *Program) intake(box *returned.Box) *intake.Intake {
	c := p.Config
	return &intake.Intake{
		Config: intake.Config{Domain: c.Domain, Level: workflow.Level(c.Sessions.Level), Trusted: c.Milter.Clients(),
			Limits: mailparse.Limits{Size: int64(c.Limits.Mail)}, Documents: c.Limits.Documents,
			Signatories: c.Limits.Signatories, Pages: c.Limits.Pages, Format: intake.Format(c.Documents.Format), Blocked: c.Senders.Blocked,
			Request: groups(c.Policy.Request), Sign: groups(c.Policy.Sign), Qualified: c.OffersQualified()},
		Directory: p.Directory,
		Inspector: inspector{},
		XML:       inspectXML,
		Desk:      p.Desk,
		Returned:  box,
		Origin: &origin.Checker{Domains: c.Senders.DKIM, Authserv: c.Senders.Authserv, ReceivedBy: c.LMTP.ReceivedBy, Requeued: p.mailOwner(),
			Resolver: net.DefaultResolver, Now: time.Now},
		Log:   p.log,
		Count: func(outcome string) { p.metrics.requests.WithLabelValues(outcome).Inc() },
	}
}

// mailOwner is the number of Postfix's own user, "" for none.
func (p *Program) mailOwner() string {
	c := p.Config.LMTP
	if c.ReceivedBy == "" || c.MailOwner == "" {
		return ""
	}
	u, err := user.Lookup(c.MailOwner)
	if err == nil && u.Uid == "0" {
		err = errors.New("it is the superuser")
	}
	if err != nil {
		p.log.Warn("mail that postsuper -r queues again proves nobody: lmtp.mail_owner is no user of Postfix", "mail_owner", c.MailOwner, "error", err)
		return ""
	}
	return u.Uid
}

func groups(g config.Groups) intake.Groups {
	return intake.Groups{workflow.Standard: g.Standard, workflow.Advanced: g.Advanced, workflow.Qualified: g.Qualified}
}

// Close gives back what Build opened.
func (p *Program) Close() error {
	if p.Store == nil {
		return nil
	}
	return p.Store.Close()
}

// timestamps gives whose time is told, and who finds evidence about it.
func (p *Program) timestamps() (pki.Timestamper, *pki.Gatherer, error) {
	c := p.Config.Timestamps
	gatherer := &pki.Gatherer{Own: p.Authority}
	if len(c.URLs) == 0 {
		own := p.Authority.OwnClock(pki.ClockPolicy{AllowUnsynchronised: c.Unsynchronised})
		return measuredTime{own, p.metrics}, gatherer, nil
	}
	remote := &pki.Remote{URLs: c.URLs}
	if c.Policy != "" {
		for arc := range strings.SplitSeq(c.Policy, ".") {
			n, err := strconv.Atoi(arc)
			if err != nil {
				return nil, nil, fmt.Errorf("timestamps.policy: %w", err)
			}
			remote.Policy = append(remote.Policy, n)
		}
	}
	if c.Roots != "" {
		pem, err := os.ReadFile(c.Roots)
		if err != nil {
			return nil, nil, fmt.Errorf("timestamps.roots: %w", err)
		}
		remote.Roots = x509.NewCertPool()
		if !remote.Roots.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("timestamps.roots: %s holds no PEM certificate", c.Roots)
		}
		gatherer.Roots = remote.Roots
	}
	return measuredTime{remote, p.metrics}, gatherer, nil
}

func (p *Program) notifier(master []byte) (*notify.Notifier, error) {
	c := p.Config
	relay := notify.Relay{Address: c.SMTP.Relay, TLS: notify.TLS(c.SMTP.TLS), User: c.SMTP.User}
	if c.SMTP.PasswordFile != "" {
		b, err := os.ReadFile(c.SMTP.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("smtp.password_file: %w", err)
		}
		relay.Pass = strings.TrimRight(string(b), "\r\n")
	}
	return notify.New(notify.Config{Domain: c.Domain, Organisation: c.Organisation.Name, Master: master, Relay: relay,
		TSA: c.Timestamps.URLs, Phones: p.advancedPhones(), Root: p.Authority.RootAddress()})
}

// Logger writes the log as the configuration says.
func Logger(c *config.Config, w io.Writer) *slog.Logger {
	var level slog.Level
	level.UnmarshalText([]byte(c.Log.Level)) // checked by config
	options := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// release is set by the linker where a package is made (packaging/build-deb).
var release string

// Version is the package's or the module's version, or the commit that was built.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := cmp.Or(release, info.Main.Version)
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (version == "" || version == "(devel)") {
			version = s.Value
		}
	}
	if version == "" {
		version = "(devel)"
	}
	return version + " " + info.GoVersion
}
