// Package config is milterd's one configuration file: its schema, its defaults
// and its checks. Nothing else reads the file, and this package reads nothing
// else: whether a certificate or a user file exists is for whoever opens it.
//
// Each field is documented once, by its comment, its `example` and where it has
// one its `unit` below and by its value in Default. The sample file and the man
// page milterd.toml(5) are generated from there (go generate; a test fails when
// they differ). The file is TOML 1.0, and an unknown field is an error.
package config

import "time"

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
	// The second door for Postfix: for mail that it delivers to the sign
	// domain without having asked the milter, because an alias led there or
	// because milterd was away.
	LMTP LMTP `toml:"lmtp"`
	// Who may ask: what proves a sender besides a login and a trusted client,
	// and how much one sender may ask. A From header alone proves nothing.
	Senders Senders `toml:"senders"`
	// Which groups of the directory may ask for which level, and sign at it.
	Policy Policy `toml:"policy"`
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
	// How documents are signed.
	Documents Documents `toml:"documents"`
	// What proves at the page that somebody signs, for each level.
	Proofs Proofs `toml:"proofs"`
	// How a person's new device is taken in, so that it can open documents,
	// sign, and have a certificate of its own. A mailed code alone never does it.
	Enrolment Enrolment `toml:"enrolment"`
	// The certificates of people's own devices, for level Advanced.
	Certificates Certificates `toml:"certificates"`
	// Signatures of level Qualified: made by whom, and whose certificates count.
	// The level is offered where card, a provider or openotp.qualified is set, and
	// lists or anchors.
	Qualified Qualified `toml:"qualified"`
	// A server of the organisation's that has people sign on their phones. Unlike a
	// trust service provider it gets the documents, and gives them back signed;
	// PDF only.
	OpenOTP OpenOTP `toml:"openotp"`
	// Where the organisation's keys are: those of the seal, of the certificate
	// authority and of the embedded timestamp authority.
	Keys Keys `toml:"keys"`
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
	// socket is three times faster; below Postfix's queue directory it is seen
	// by a chrooted smtpd (Debian's default) and by one that is not.
	Listen string `toml:"listen" example:"unix:/var/spool/postfix/milterd/milter.sock"`
	// Addresses or networks whose mail is believed to come from the address
	// in its From header without a login, for example a scanner. Everybody
	// who can send from there can ask in anybody's name: list single machines.
	// Postfix's mynetworks is not taken, because it usually holds whole offices.
	TrustedClients []string `toml:"trusted_clients" example:"[\"192.0.2.10\"]"`
}

// LMTP is the second door for Postfix.
type LMTP struct {
	// Socket that Postfix delivers to: unix:PATH or inet:HOST:PORT, or empty
	// for none.
	Listen string `toml:"listen" example:"unix:/var/spool/postfix/milterd/lmtp.sock"`
	// Host name that this site's own Postfix writes behind "by" in the topmost
	// Received line (its myhostname). What stands in that line counts as proof
	// here: a login, which Postfix writes with smtpd_sasl_authenticated_header =
	// yes, and the address of a trusted client. Postfix must not strip its own
	// Received lines (header_checks), or a client could write one. Empty: only
	// DKIM proves a sender at this door.
	ReceivedBy string `toml:"received_by" example:"mx.corp.com"`
	// Postfix's own user, its mail_owner. Mail that "postsuper -r" queues again
	// gets a Received line with this user's number on top ("from userid"), and
	// the line that counts stands below it. Below the line of any other user
	// nothing counts: who calls sendmail writes what stands there. Empty, or no
	// user of this machine: mail that is queued again proves nobody.
	MailOwner string `toml:"mail_owner" example:"postfix"`
}

// Senders says who may ask.
type Senders struct {
	// The organisation's own mail domains whose DKIM signature proves their
	// From addresses, subdomains included. A signature counts if it is fresh,
	// covers From, To, Cc, Subject, Date, Message-ID and Content-Type, and the
	// sign address is one of its recipients. It proves that a server of the
	// domain sent the mail: list domains whose servers let everybody write in
	// their own name only, and whose DKIM keys nobody else has.
	DKIM []string `toml:"dkim" example:"[\"corp.com\"]"`
	// Name of the filter in this site's Authentication-Results lines
	// (authserv-id) that checks DKIM before milterd. At the LMTP door its word
	// about a signature counts like a check of our own, where it stands above
	// the Received line of lmtp.received_by. (The milter cannot tell it from a
	// line that the client wrote.) Empty: none.
	Authserv string `toml:"authserv" example:"mx.corp.com"`
	// Ask internal senders who are not proven to confirm their request on a
	// page, by a mail that quotes nothing of theirs. Off: they are refused.
	Confirm bool `toml:"confirm" example:"true"`
	// Sessions that one sender may open in an hour; 0 for any number.
	PerHour int `toml:"per_hour" example:"60"`
	// Addresses of people who may not ask.
	Blocked []string `toml:"blocked" example:"[\"intern@corp.com\"]"`
}

// Policy says which groups may do what.
type Policy struct {
	// Groups whose members may ask for signatures of a level. Empty: everybody
	// in the directory. A group is named as in users.toml, or by its
	// distinguished name in LDAP.
	Request Groups `toml:"request"`
	// Groups whose members may sign at a level. Empty: everybody in the
	// directory.
	Sign Groups `toml:"sign"`
}

// Groups are names of groups for each level.
type Groups struct {
	// Groups for Standard.
	Standard []string `toml:"standard" example:"[\"cn=staff,ou=groups,dc=corp,dc=com\"]"`
	// Groups for Advanced.
	Advanced []string `toml:"advanced" example:"[\"cn=management,ou=groups,dc=corp,dc=com\"]"`
	// Groups for Qualified.
	Qualified []string `toml:"qualified" example:"[\"cn=board,ou=groups,dc=corp,dc=com\"]"`
}

// HTTP is the door for people.
type HTTP struct {
	// Address for the signing pages. Where systemd passes a socket
	// (milterd.socket: port 443), that one is taken instead.
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
	// TOML file with people and groups, for a site without LDAP. Not used
	// where ldap.servers is set.
	Users string `toml:"users" example:"/etc/milterd/users.toml"`
	// People and groups in LDAP: OpenLDAP, Active Directory and their kin.
	LDAP LDAP `toml:"ldap"`
}

// LDAP says where people and groups are, and what their attributes mean.
type LDAP struct {
	// Servers, asked in this order: ldaps://HOST, or ldap://HOST with starttls.
	Servers []string `toml:"servers" example:"[\"ldaps://ldap1.corp.com\", \"ldaps://ldap2.corp.com\"]"`
	// Begin TLS on ldap:// connections, or do without the server. Off only for
	// a server on this machine.
	StartTLS bool `toml:"starttls" example:"true"`
	// PEM file with the authorities of the servers' certificates; empty for
	// those of the system.
	CA string `toml:"ca" example:"/etc/milterd/ldap-ca.pem"`
	// Distinguished name to log in with, or empty for anonymous.
	BindDN string `toml:"bind_dn" example:"cn=milterd,ou=services,dc=corp,dc=com"`
	// File that holds its password, on one line.
	PasswordFile string `toml:"password_file" example:"/etc/milterd/ldap.password"`
	// Where people are: they, and nobody outside, can ask and sign.
	Base string `toml:"base" example:"ou=people,dc=corp,dc=com"`
	// Which entries are people, as in RFC 4515. Entries without a mail address
	// are nobody. Leave out accounts that are locked.
	Filter string `toml:"filter" example:"(&(objectClass=user)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))"`
	// Attributes that hold a person's mail addresses. The primary address is
	// the first value of the first one that the entry has, or in Active
	// Directory's proxyAddresses the one that begins with SMTP: in capitals.
	Addresses []string `toml:"addresses" example:"[\"mail\", \"proxyAddresses\"]"`
	// Attributes that hold a login name, as Postfix reports it. Mail to
	// LOGIN@DOMAIN asks its owner, as mail to an address of his does.
	Logins []string `toml:"logins" example:"[\"uid\", \"sAMAccountName\"]"`
	// Attribute with the name as it is printed in signatures.
	Name string `toml:"name" example:"displayName"`
	// Attribute with the language of mails to a person (RFC 2798): de, or
	// "de, en;q=0.5".
	Language string `toml:"language" example:"preferredLanguage"`
	// Attribute with a person's own certificates.
	Certificate string `toml:"certificate" example:"userCertificate;binary"`
	// Attributes with a person's given name and surname, which a qualified
	// certificate must have.
	GivenName string `toml:"given_name" example:"givenName"`
	// Surname.
	Surname string `toml:"surname" example:"sn"`
	// Attribute with the identifier that a qualified certificate has as
	// serialNumber (ETSI EN 319 412-1, clause 5.1.3), such as PNOEE-38001085718;
	// empty to compare names only. Where a person has it, it decides.
	Serial string `toml:"serial" example:"employeeNumber"`
	// Where groups are, or empty for no groups.
	GroupBase string `toml:"group_base" example:"ou=groups,dc=corp,dc=com"`
	// Which entries are groups.
	GroupFilter string `toml:"group_filter" example:"(objectClass=groupOfNames)"`
	// Attributes that hold a group's mail addresses: mail to team@DOMAIN asks
	// everybody in the group with an address team@. Where groups have no
	// addresses, cn lets them be asked by their names.
	GroupAddresses []string `toml:"group_addresses" example:"[\"cn\"]"`
	// Attribute with the distinguished names of a group's members.
	Member string `toml:"member" example:"member"`
	// Answers are kept for so long, and that somebody is unknown for at most
	// 30 seconds; changes in LDAP are seen after it, or after a reload.
	Cache Duration `toml:"cache" unit:"days, hours or minutes" example:"5m"`
}

// Sessions are the rules for signing sessions.
type Sessions struct {
	// Level of a request that names none: standard, advanced or qualified.
	Level string `toml:"level" example:"standard"`
	// How long signatories have to answer, at most 30 days.
	Deadline Duration `toml:"deadline" unit:"days, hours or minutes" example:"14d"`
	// How long documents are kept after the end of their session. The audit
	// trail stays.
	Retention Duration `toml:"retention" unit:"days, hours or minutes" example:"90d"`
}

// Documents says how documents are signed.
type Documents struct {
	// Which files are taken, and how they are signed where the subject says
	// nothing. auto: a PDF in itself (PAdES), XML in itself (XAdES), any other
	// file in a container around it (ASiC-E), and of a mail without attachments its
	// text. asic: everything in containers. cades: everything in messages around it
	// (.p7m). pdf: PDFs only. Except for pdf, [pades], [xades], [asic] or [cades]
	// in a subject decides for its mail.
	Format string `toml:"format" example:"auto"`
	// Files of which LibreOffice makes a PDF, which is signed in their place, by
	// the ends of their names: doc, docx, odt, rtf, xls, xlsx, ods, pptx, odp, odg,
	// png, jpg, jpeg, gif, svg. Empty: none. Where a subject says [asic] or [cades], a
	// file stays as it is. It needs LibreOffice on this machine, and a kernel that
	// lets milterd isolate it.
	Convert []string `toml:"convert" example:"[\"docx\", \"odt\", \"xlsx\", \"ods\"]"`
	// LibreOffice's program, a path or a name in PATH.
	Soffice string `toml:"soffice" example:"/opt/libreoffice/program/soffice"`
	// How long LibreOffice may take for one file, up to 2 minutes. The sender's
	// mail program waits meanwhile.
	ConvertTime Duration `toml:"convert_time" unit:"minutes or seconds" example:"45s"`
	// How much memory LibreOffice may take for one file. As many are converted at
	// a time as there are processors.
	ConvertMemory Size `toml:"convert_memory" unit:"bytes, MB or MiB" example:"1GiB"`
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
		Data:      "/var/lib/milterd",
		Milter:    Milter{Listen: "unix:/var/spool/postfix/milterd/milter.sock"},
		HTTP:      HTTP{Listen: "127.0.0.1:8470"},
		Monitor:   Monitor{Listen: "127.0.0.1:8471"},
		SMTP:      SMTP{Relay: "127.0.0.1:25", TLS: "opportunistic"},
		Database:  Database{URL: "sqlite:milterd.db"},
		Sessions:  Sessions{Level: "standard", Deadline: Days(14), Retention: Days(90)},
		Proofs:    Proofs{Standard: []string{"code", "passkey", "totp"}, Advanced: []string{"passkey"}},
		Documents: Documents{Format: "auto", Soffice: "soffice", ConvertTime: Duration{Duration: 45 * time.Second}, ConvertMemory: 1 << 30},
		Limits:    Limits{Mail: 10240000, Documents: 10, Signatories: 20, Pages: 2000},
		Jobs:      Jobs{Workers: 4},
		Log:       Log{Level: "info", Format: "text"},
		LMTP:      LMTP{Listen: "unix:/var/spool/postfix/milterd/lmtp.sock", MailOwner: "postfix"},
		Senders:   Senders{PerHour: 60},
		Directory: Directory{Users: "/etc/milterd/users.toml", LDAP: LDAP{StartTLS: true, Filter: "(objectClass=person)",
			Addresses: []string{"mail", "proxyAddresses"}, Logins: []string{"uid"}, Name: "cn", Language: "preferredLanguage",
			Certificate: "userCertificate;binary", GivenName: "givenName", Surname: "sn", GroupFilter: "(objectClass=groupOfNames)",
			GroupAddresses: []string{"mail", "proxyAddresses"}, Member: "member",
			Cache: Duration{Duration: 5 * time.Minute}}},
		Enrolment:    Enrolment{Ways: []string{"password", "device", "administrator"}, PasswordTries: 3},
		Certificates: Certificates{Lifetime: Days(30)},
		Qualified:    Qualified{Lists: "trustlists", Registered: "no"},
	}
}
