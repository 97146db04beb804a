// The tables of the schema that say how signatures come about: proofs, devices,
// certificates, keys and time. Config itself is in config.go.

package config

// Proofs are what each level accepts as proof.
type Proofs struct {
	// For Standard: code (mailed), passkey (bound to the documents), totp (a
	// one-time password of an app, for devices without passkeys).
	Standard []string `toml:"standard" example:"[\"passkey\"]"`
	// For Advanced: passkey, totp. A passkey is bound to the documents, a
	// one-time password is not. A mailed code never suffices here.
	Advanced []string `toml:"advanced" example:"[\"passkey\", \"totp\"]"`
}

// Enrolment says how a device is taken in.
type Enrolment struct {
	// Second proofs that count beside the mailed code: password (that of the
	// directory, where it is LDAP), device (one that is enrolled already, by its
	// passkey), card (an identity card that names them by an identifier; needs
	// qualified.card), administrator (milterd device approve).
	Ways []string `toml:"ways" example:"[\"device\", \"administrator\"]"`
	// Wrong passwords that a person may give in an hour. Keep it below the number
	// at which the directory locks the account.
	PasswordTries int `toml:"password_tries" example:"3"`
}

// Certificates are those of people's own devices.
type Certificates struct {
	// How long one is valid. The page renews it without a question.
	Lifetime Duration `toml:"lifetime" unit:"days or hours" example:"30d"`
}

// Qualified says how signatures of level Qualified are made.
type Qualified struct {
	// Signatories may sign with an identity card in a reader at their own
	// computer, by Web eID's extension and program.
	Card bool `toml:"card" example:"true"`
	// Folder with the EU's trusted lists, which say whose certificates are
	// qualified; PATH relative to the data folder. EU.xml is the list of the
	// lists. They are fetched from lotl, or put there by hand.
	Lists string `toml:"lists" example:"trustlists"`
	// Address of the list of the lists, or empty to fetch nothing.
	LOTL string `toml:"lotl" example:"https://lists.example.com/eu-lotl.xml"`
	// File with the certificates that the list of the lists must be signed with,
	// PEM: the Official Journal of the EU prints them. Needed for lists.
	LOTLSigners string `toml:"lotl_signers" example:"/etc/milterd/lotl-signers.pem"`
	// Countries whose lists are loaded, as the list of the lists names them; none
	// for all.
	Territories []string `toml:"territories" example:"[\"LU\", \"EE\"]"`
	// Folder with certificates (*.pem) of authorities that the organisation
	// itself takes for qualified, beside trusted lists or instead of them. The
	// evidence says then that no list vouched.
	Anchors string `toml:"anchors" example:"/etc/milterd/qualified"`
	// How much registered certificates count: those that the directory holds for
	// their person (directory.ldap.certificate), that an administrator has
	// registered (milterd qualified register), or the person on the devices page.
	// no: they are recognised where the directory spells a name otherwise, and none
	// is needed. first-use: a certificate is also registered when its person first
	// signs with it; once one is, a name alone is nobody. required: no other ones
	// are taken, and none registers itself.
	Registered string `toml:"registered" example:"first-use"`
	// Trust service providers that hold signatories' keys and sign by the Cloud
	// Signature Consortium's API, one table for each.
	Providers []Provider `toml:"provider"`
}

// OpenOTP is a server that has people sign on their phones.
type OpenOTP struct {
	// Name, as signatories read it.
	Name string `toml:"name" example:"Corp Phones"`
	// Address of its SOAP interface, or empty for none. People are known there by
	// their mail address.
	URL string `toml:"url" example:"https://webadm.corp.com:8443/openotp/"`
	// File that holds the API key, on one line; empty where the server wants none.
	APIKeyFile string `toml:"api_key_file" example:"/etc/milterd/openotp.key"`
	// Client id, by which the server finds its policy.
	Client string `toml:"client" example:"milterd"`
	// Domain there in which people are looked up, or empty for the server's default.
	Domain string `toml:"domain" example:"Default"`
	// PEM file with the authorities of its TLS certificate; empty for those of the
	// system.
	CA string `toml:"ca" example:"/etc/milterd/openotp-ca.pem"`
	// It is offered at level Qualified (SignScope eIDAS). Whose certificates count,
	// [qualified] says.
	Qualified bool `toml:"qualified" example:"true"`
	// It is offered at level Advanced, beside people's own devices: local, where the
	// organisation's authority certifies their phones' keys (SignScope Local), or
	// global, where the vendor's does (SignScope Global). Empty: it is not.
	Advanced string `toml:"advanced" example:"local"`
	// Folder with the certificates (*.pem) of that authority, or of several: whoever
	// it certifies is taken at level Advanced, by mail address, identifier,
	// registered certificate or name. They count nowhere else, and certificates
	// must say where they are revoked.
	AdvancedAnchors string `toml:"advanced_anchors" example:"/etc/milterd/phones"`
}

// Provider is a trust service provider that signs remotely.
type Provider struct {
	// Name, as signatories read it.
	Name string `toml:"name" example:"Example Trust"`
	// Base address of the API with its version.
	URL string `toml:"url" example:"https://sign.example.com/csc/v2"`
	// Version of the API, 2 or 1; 0 means 2.
	Version int `toml:"version" example:"2"`
	// Name of this milterd at the provider.
	ClientID string `toml:"client_id" example:"corp-milterd"`
	// File that holds its secret, on one line. By it milterd lists a person's
	// certificates, under the person's mail address.
	SecretFile string `toml:"secret_file" example:"/etc/milterd/qtsp.secret"`
	// OAuth2 token endpoint.
	TokenURL string `toml:"token_url" example:"https://sign.example.com/oauth2/token"`
	// OAuth2 page on which signatories agree, or empty where they type a PIN or
	// a one-time password on milterd's page. The provider must know URL/r as the
	// address that it sends browsers back to.
	AuthorizeURL string `toml:"authorize_url" example:"https://sign.example.com/oauth2/authorize"`
	// Client id and secret go into an Authorization header instead of the form.
	BasicAuth bool `toml:"basic_auth" example:"true"`
	// Send authorization_details (RFC 9396) instead of single fields.
	RichRequests bool `toml:"rich_requests" example:"true"`
	// Send digests as base64url.
	HashURLSafe bool `toml:"hash_url_safe" example:"true"`
	// Send digests without the "=" at their end.
	HashUnpadded bool `toml:"hash_unpadded" example:"true"`
	// PEM file with the authorities of the provider's TLS certificate; empty for
	// those of the system.
	CA string `toml:"ca" example:"/etc/milterd/qtsp-ca.pem"`
}

// OffersQualified reports whether Qualified signatures can be made.
func (c *Config) OffersQualified() bool {
	return c.Qualified.Card || len(c.Qualified.Providers) > 0 || c.OpenOTP.Qualified
}

// Keys says where the organisation's keys are.
type Keys struct {
	// Which keys are in the token, of root, issuing, seal and tsa; the others are
	// files in the data folder. In the token a key has its name as label. Their
	// certificates are files all the same.
	Token []string `toml:"token" example:"[\"issuing\", \"seal\", \"tsa\"]"`
	// PKCS#11 module of the token.
	Module string `toml:"module" example:"/usr/lib/softhsm/libsofthsm2.so"`
	// Label of the token.
	Label string `toml:"label" example:"milterd"`
	// File that holds the token's PIN, on one line.
	PINFile string `toml:"pin_file" example:"/etc/milterd/token.pin"`
	// Name of the systemd credential (LoadCredential=, LoadCredentialEncrypted=)
	// that holds the passphrase of the key files, or empty for files without one.
	Passphrase string `toml:"passphrase" example:"keys.passphrase"`
	// File with the seal's certificate where another authority has issued it, PEM,
	// followed by those above it, the root or the authority of a trusted list
	// last: a qualified seal, for example. Its key is the seal's in the token
	// (token), or at a provider (seal_provider). Empty: the organisation's own
	// authority has issued it.
	SealCertificate string `toml:"seal_certificate" example:"/etc/milterd/seal.pem"`
	// Name of the [[qualified.provider]] that holds the seal's key, or empty.
	SealProvider string `toml:"seal_provider" example:"Example Trust"`
	// The key's name there (credentialID).
	SealCredential string `toml:"seal_credential" example:"corp-seal"`
	// File that holds its PIN, on one line; empty where the provider asks for none.
	SealPINFile string `toml:"seal_pin_file" example:"/etc/milterd/seal.pin"`
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
