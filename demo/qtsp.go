package demo

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"milterd/pki/qualified/qualifiedtest"
	"milterd/signer/csc/csctest"
)

// StandIn is the name by which people see the provider of the demo: it must never
// be taken for a real one.
const StandIn = "Stand-in QTSP"

// standInPIN is everybody's at the stand-in.
const standInPIN = "1234"

// qtsp is a stand-in for a qualified trust service provider: an authority, the
// trusted lists that vouch for it, and a server that holds everybody's key.
type qtsp struct {
	*csctest.Server
	authority *qualifiedtest.Provider
	revision  *http.Server // OCSP and revocation list

	next func(*qualifiedtest.Request) // changes the next certificate
}

// startQTSP starts it for these people, and gives its part of milterd's configuration.
func startQTSP(dir, pages string, people []Person) (_ *qtsp, config string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	q := &qtsp{}
	if q.authority, err = qualifiedtest.New(time.Now, "http://"+ln.Addr().String()); err != nil {
		ln.Close()
		return nil, "", err
	}
	q.revision = &http.Server{Handler: q.authority, ReadHeaderTimeout: 10 * time.Second}
	go q.revision.Serve(ln)
	defer func() {
		if err != nil {
			q.Close()
		}
	}()
	names := map[string]string{}
	for _, p := range people {
		names[p.Mail] = p.Name
	}
	q.Server, err = csctest.New(csctest.Config{ClientID: "milterd", Secret: "demo", ClientCredentials: true, RedirectURI: pages + "/r",
		Issue: func(pub crypto.PublicKey, user string) ([]byte, [][]byte, error) {
			return q.issue(pub, names[user])
		}})
	if err != nil {
		return nil, "", err
	}
	for i, p := range people {
		q.AddUser(csctest.User{ID: p.Mail, PIN: standInPIN})
		// Some type their PIN on milterd's page, others on the provider's.
		err := q.AddCredential(csctest.Credential{ID: fmt.Sprintf("key-%d", i+1), User: p.Mail, Type: csctest.P256,
			Qualifier: "eu_eidas_qes", PIN: i%2 == 0, OAuth2: i%2 == 1, Multisign: 10})
		if err != nil {
			return nil, "", err
		}
	}
	config, err = q.configure(dir)
	return q, config, err
}

func (q *qtsp) issue(pub crypto.PublicKey, name string) ([]byte, [][]byte, error) {
	r := qualifiedtest.Request{GivenName: name, Key: pub}
	if i := strings.LastIndexByte(name, ' '); i > 0 {
		r.GivenName, r.Surname = name[:i], name[i+1:]
	}
	if q.next != nil {
		q.next(&r)
		q.next = nil
	}
	id, err := q.authority.Issue(r)
	if err != nil {
		return nil, nil, err
	}
	return id.Cert.Raw, [][]byte{q.authority.CA.Raw}, nil
}

// configure writes trusted lists that vouch for the authority, and names them.
func (q *qtsp) configure(dir string) (string, error) {
	lists, signers, secret := filepath.Join(dir, "trustlists"), filepath.Join(dir, "lotl.pem"), filepath.Join(dir, "qtsp.secret")
	union, err := q.authority.Lists()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(lists, 0o755); err != nil {
		return "", err
	}
	if err := union.Write(lists); err != nil {
		return "", err
	}
	if err := os.WriteFile(signers, certificates(union.Trusted()...), 0o644); err != nil {
		return "", err
	}
	if err := os.WriteFile(secret, []byte("demo\n"), 0o600); err != nil {
		return "", err
	}
	return fmt.Sprintf(`[qualified]
card = true
lists = %q
lotl_signers = %q
[[qualified.provider]]
name = %q
url = %q
client_id = "milterd"
secret_file = %q
token_url = %q
authorize_url = %q
`, lists, signers, StandIn, q.URL, secret, q.TokenURL, q.AuthorizeURL), nil
}

// Close ends it.
func (q *qtsp) Close() {
	if q.Server != nil {
		q.Server.Close()
	}
	q.revision.Close()
}

// certificates are PEM.
func certificates(certs ...*x509.Certificate) (out []byte) {
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// seal adds a key for the organisation's qualified seal, and gives its part of milterd's
// configuration.
func (q *qtsp) seal(dir, organisation string) (string, error) {
	q.AddUser(csctest.User{ID: organisation, PIN: standInPIN})
	q.next = func(r *qualifiedtest.Request) { r.Seal, r.Organisation = true, organisation }
	err := q.AddCredential(csctest.Credential{ID: "seal", User: organisation, Type: csctest.RSA3072, Qualifier: "eu_eidas_qeseal", PIN: true})
	if err != nil {
		return "", err
	}
	leaf, err := x509.ParseCertificate(q.Leaf("seal"))
	if err != nil {
		return "", err
	}
	cert, pin := filepath.Join(dir, "seal.pem"), filepath.Join(dir, "seal.pin")
	if err := os.WriteFile(cert, certificates(leaf, q.authority.CA), 0o644); err != nil {
		return "", err
	}
	if err := os.WriteFile(pin, []byte(standInPIN+"\n"), 0o600); err != nil {
		return "", err
	}
	return fmt.Sprintf("[keys]\nseal_certificate = %q\nseal_provider = %q\nseal_credential = \"seal\"\nseal_pin_file = %q\n", cert, StandIn, pin), nil
}
