// Package config is milterd's one configuration file: its schema, its defaults
// and its checks. Nothing else reads the file, and this package reads nothing
// else: whether a certificate or a user file exists is for whoever opens it.
//
// Each field is documented once, by its comment, its `example` and where it has
// one its `unit` below and by its value in Default. The sample file and the man
// page milterd.toml(5) are generated from there (go generate; a test fails when
// they differ). The file is TOML 1.0, and an unknown field is an error.
package config

//go:generate go test milterd/config/reference -update

// MaxDeadline is the longest time that a session may stay open.
var MaxDeadline = Days(30)

// Config is the whole file.
type Config struct {
	// The mail domain whose addresses are requests to sign: mail to
	// john.doe@DOMAIN asks John Doe, mail to self@DOMAIN the sender.
	Domain string `toml:"domain" example:"sign.corp.com"`

	// Base address of the signing pages, as people reach them. It stands in
	// every link and QR code, so it must not change while sessions are open.
	// https, except for localhost.
	URL string `toml:"url" example:"https://sign.corp.com"`

	// Folder for the keys, the master key and the SQLite database. Everything
	// that must be backed up is here, except a PostgreSQL database.
	Data string `toml:"data" example:"/var/lib/milterd"`

	// Who seals: these words stand in the seal certificate and in documents.
	Organisation Organisation `toml:"organisation"`
	// The door for Postfix.
	Milter Milter `toml:"milter"`
	// The door for people.
	HTTP HTTP `toml:"http"`
	// The door for the monitoring: /healthz and /metrics, without a password.
	Monitor Monitor `toml:"monitor"`
	// The way out for milterd's own mail.
	SMTP SMTP `toml:"smtp"`
	// Where sessions, documents, evidence and jobs live.
	Database Database `toml:"database"`
	// Who may ask and who may sign.
	Directory Directory `toml:"directory"`
	// Rules for signing sessions.
	Sessions Sessions `toml:"sessions"`
	// What a request may be at most. Larger ones are refused with a sentence
	// that says so, while Postfix still has the sender on the line.
	Limits Limits `toml:"limits"`
	// Who says what time it is (RFC 3161).
	Timestamps Timestamps `toml:"timestamps"`
	// Work after the mail is taken: preparing, signing, sealing, mailing.
	Jobs Jobs `toml:"jobs"`
	// The log goes to standard error.
	Log Log `toml:"log"`
}

// Organisation is who seals.
type Organisation struct {
	// Registered name.
	Name string `toml:"name" example:"Corp GmbH"`
	// VAT number with its country prefix, or empty; goes into the seal
	// certificate as organizationIdentifier (ETSI EN 319 412-1, clause 5.1.4).
	VAT string `toml:"vat" example:"DE123456789"`
	// Country, two letters of ISO 3166.
	Country string `toml:"country" example:"DE"`
}

// Milter is the door for Postfix.
type Milter struct {
	// Socket that Postfix connects to: unix:PATH or inet:HOST:PORT. A UNIX
	// socket is three times faster.
	Listen string `toml:"listen" example:"unix:/run/milterd/milter.sock"`
	// Addresses or networks whose mail is believed to come from the address
	// in its From header without a login, for example a scanner. Everybody
	// who can send from there can ask in anybody's name: list single machines.
	// Postfix's mynetworks is not taken, because it usually holds whole offices.
	TrustedClients []string `toml:"trusted_clients" example:"[\"192.0.2.10\"]"`
}

// HTTP is the door for people.
type HTTP struct {
	// Address for the signing pages.
	Listen string `toml:"listen" example:":443"`
	// Files with the certificate chain and its key, PEM. Both or none: without
	// them the pages are plain HTTP, for a proxy on the same machine. They are
	// read again at SIGHUP.
	Certificate string `toml:"certificate" example:"/etc/milterd/tls.crt"`
	// File with the private key of the certificate.
	Key string `toml:"key" example:"/etc/milterd/tls.key"`
	// Proxies whose X-Forwarded-For header is believed, addresses or networks.
	// Needed behind a proxy: else every visitor has its address, in the audit
	// trail and in the rate limits.
	Proxies []string `toml:"proxies" example:"[\"127.0.0.1\"]"`
}

// Monitor is the door for the monitoring.
type Monitor struct {
	// Address for /healthz and /metrics, or empty for none. It is not meant
	// for the world.
	Listen string `toml:"listen" example:"127.0.0.1:8471"`
}

// SMTP is the way out for milterd's own mail.
type SMTP struct {
	// Mail server that takes milterd's mail: HOST:PORT.
	Relay string `toml:"relay" example:"127.0.0.1:25"`
	// plain: never encrypted, for a relay on this machine. opportunistic:
	// encrypted where the relay offers it, whoever it is. required: STARTTLS
	// with a valid certificate, or no mail leaves.
	TLS string `toml:"tls" example:"required"`
	// Login name at the relay, or empty for none.
	User string `toml:"user" example:"milterd"`
	// File that holds the password, on one line.
	PasswordFile string `toml:"password_file" example:"/etc/milterd/smtp.password"`
}

// Database is where everything lives.
type Database struct {
	// sqlite:PATH (PATH relative to the data folder) or postgres://….
	URL string `toml:"url" example:"postgres:///milterd?host=/run/postgresql"`
}

// Directory is who may ask and who may sign.
type Directory struct {
	// TOML file with people: mail, other addresses, name, language.
	Users string `toml:"users" example:"/etc/milterd/users.toml"`
}

// Sessions are the rules for signing sessions.
type Sessions struct {
	// Level of a request that names none: standard. (advanced and qualified are
	// words of the subject already, and refused until milterd can make them.)
	Level string `toml:"level" example:"standard"`
	// How long signatories have to answer, at most 30 days.
	Deadline Duration `toml:"deadline" unit:"days, hours or minutes" example:"14d"`
	// How long documents are kept after the end of their session. The audit
	// trail stays.
	Retention Duration `toml:"retention" unit:"days, hours or minutes" example:"90d"`
}

// Limits are what a request may be at most.
type Limits struct {
	// Largest mail, as Postfix's message_size_limit. A result that would be
	// larger is offered as a download instead.
	Mail Size `toml:"mail" unit:"bytes, kB, MB or MiB" example:"25MB"`
	// Documents in one mail.
	Documents int `toml:"documents" example:"10"`
	// Signatories of one mail.
	Signatories int `toml:"signatories" example:"20"`
	// Pages of one document.
	Pages int `toml:"pages" example:"2000"`
}

// Timestamps say who says what time it is.
type Timestamps struct {
	// Timestamp authorities, tried in order. None: the embedded one, which is
	// the organisation's own clock and says so. One that is configured is never
	// replaced by it: when all are away, signatures wait.
	URLs []string `toml:"urls" example:"[\"https://tsa.example.com/tsr\"]"`
	// File with the roots that the authorities' certificates must lead to, PEM,
	// or empty for the system's.
	Roots string `toml:"roots" example:"/etc/milterd/tsa-roots.pem"`
	// Policy to ask for, or empty to leave it to the authority.
	Policy string `toml:"policy" example:"0.4.0.2023.1.1"`
	// Whether the embedded authority works although the kernel says that no
	// time server steers the clock. In a container it cannot know.
	Unsynchronised bool `toml:"unsynchronised" example:"true"`
}

// Jobs are the work after the mail is taken.
type Jobs struct {
	// Jobs done at the same time.
	Workers int `toml:"workers" example:"4"`
}

// Log says what is logged and how.
type Log struct {
	// debug, info, warn or error.
	Level string `toml:"level" example:"info"`
	// text or json.
	Format string `toml:"format" example:"text"`
}

// Default is what holds for fields that the file leaves out. Fields that are
// empty here and not optional must be in the file: domain, url, organisation
// name and country, directory users.
func Default() *Config {
	return &Config{
		Data:       "/var/lib/milterd",
		Milter:     Milter{Listen: "unix:/run/milterd/milter.sock"},
		HTTP:       HTTP{Listen: "127.0.0.1:8470"},
		Monitor:    Monitor{Listen: "127.0.0.1:8471"},
		SMTP:       SMTP{Relay: "127.0.0.1:25", TLS: "opportunistic"},
		Database:   Database{URL: "sqlite:milterd.db"},
		Sessions:   Sessions{Level: "standard", Deadline: Days(14), Retention: Days(90)},
		Limits:     Limits{Mail: 10240000, Documents: 10, Signatories: 20, Pages: 2000},
		Jobs:       Jobs{Workers: 4},
		Log:        Log{Level: "info", Format: "text"},
		Directory:  Directory{Users: "/etc/milterd/users.toml"},
		Timestamps: Timestamps{},
	}
}
