package ldaptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// configuration is slapd.conf for a folder. proxyAddresses is Active
// Directory's, defined here alone because Debian's msuser.schema brings 4,000
// lines with it. Who is not logged in may read nothing, as in most companies.
const configuration = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses'
  EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %[1]s/slapd.pid
argsfile %[1]s/slapd.args
TLSCACertificateFile %[1]s/ca.pem
TLSCertificateFile %[1]s/server.pem
TLSCertificateKeyFile %[1]s/server.key
TLSVerifyClient never
database mdb
maxsize 268435456
suffix "%[2]s"
rootdn "%[3]s"
rootpw "%[4]s"
directory %[1]s/db
dbnosync
index objectClass eq
index uid,member eq
index mail,proxyAddresses eq,sub
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
%[5]s
`

// base are the entries that every server has.
const base = `dn: %[1]s
objectClass: domain
dc: corp

dn: %[2]s
objectClass: organizationalUnit
ou: people

dn: %[3]s
objectClass: organizationalUnit
ou: groups

dn: ou=services,%[1]s
objectClass: organizationalUnit
ou: services

dn: %[4]s
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: milterd
userPassword: %[5]s

`

// write lays out the folder: configuration, entries, password and certificates.
func (s *Server) write(o Options) error {
	if err := os.MkdirAll(s.path("db"), 0o700); err != nil {
		return err
	}
	ca, cert, key, err := certificates(o.Names)
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{
		"slapd.conf":   fmt.Appendf(nil, configuration, o.Dir, Base, adminDN, Password, o.Config),
		"entries.ldif": append(fmt.Appendf(nil, base, Base, People, Groups, BindDN, Password), o.LDIF...),
		"password":     []byte(Password + "\n"),
		"ca.pem":       ca, "server.pem": cert, "server.key": key,
	} {
		if err := os.WriteFile(s.path(name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// certificates makes an authority and a server's certificate with its key, PEM.
func certificates(names []string) (ca, cert, key []byte, err error) {
	now := time.Now()
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ldaptest authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	server := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "ldaptest"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, n)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	if ca, err = x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey); err != nil {
		return nil, nil, nil, err
	}
	if cert, err = x509.CreateCertificate(rand.Reader, server, authority, serverKey.Public(), caKey); err != nil {
		return nil, nil, nil, err
	}
	if key, err = x509.MarshalPKCS8PrivateKey(serverKey); err != nil {
		return nil, nil, nil, err
	}
	return pemBlock("CERTIFICATE", ca), pemBlock("CERTIFICATE", cert), pemBlock("PRIVATE KEY", key), nil
}

func pemBlock(kind string, b []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})
}
