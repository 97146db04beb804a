package csc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/signature/cms"
)

// A provider's word is held against the certificate, and against itself.
func TestContradictions(t *testing.T) {
	t.Parallel()
	encoded := func(pub any) string {
		der, _, err := house().issue(pub, "x")
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(der)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak := encoded(newRSA(1024).Public())
	rsaCert, ecCert := encoded(rsa2048().Public()), encoded(ec.Public())
	c := reader(t, 2)
	c.now = time.Now
	const rsaOID, ecOID, auth = "1.2.840.113549.1.1.1", "1.2.840.10045.2.1", `"auth":{"mode":"explicit","objects":[{"type":"Password","id":"PIN"}]}`
	const good = `{"key":{"status":"enabled","algo":["` + rsaOID + `"],"len":2048},"cert":{"certificates":["RSA"]},` + auth + `,"multisign":1}`
	const goodEC = `{"key":{"status":"enabled","algo":["` + ecOID + `"],"len":384,"curve":"1.3.132.0.34"},"cert":{"certificates":["EC"]},` + auth + `,"multisign":1}`
	for _, x := range []struct {
		name, from, old, new string
		reason               Reason // empty: it is taken
	}{
		{"good RSA", good, "", "", ""},
		{"good EC", goodEC, "", "", ""},
		{"EC without curve", goodEC, `,"curve":"1.3.132.0.34"`, ``, ""},
		{"RSA length", good, "2048", "3072", WrongAnswer},
		{"no length", good, `,"len":2048`, ``, WrongAnswer},
		{"EC length", goodEC, `384,"curve":"1.3.132.0.34"`, `256`, WrongAnswer},
		{"EC curve", goodEC, "1.3.132.0.34", "1.2.840.10045.3.1.7", WrongAnswer},
		{"unknown curve", goodEC, "1.3.132.0.34", "1.3.132.0.33", WrongAnswer},
		{"RSA with a curve", good, `2048`, `2048,"curve":"1.3.132.0.34"`, WrongAnswer},
		{"RSA said, EC had", good, "RSA", "EC", WrongAnswer},
		{"EC said, RSA had", goodEC, `"EC"`, `"RSA"`, WrongAnswer},
		{"weak key", strings.Replace(good, "2048", "1024", 1), `"RSA"`, `"` + weak + `"`, Unusable},
		{"SHA-1", good, rsaOID, "1.2.840.113549.1.1.5", Unusable},
		{"disabled", good, "enabled", "disabled", Unusable},
		{"no status", good, `"status":"enabled",`, ``, Unusable},
		{"revoked", good, `"cert":{`, `"cert":{"status":"revoked",`, Unusable},
		{"SCAL", good, `"multisign"`, `"SCAL":"3","multisign"`, WrongAnswer},
		{"multisign", good, `"multisign":1`, `"multisign":0`, WrongAnswer},
		{"no multisign", good, `,"multisign":1`, ``, WrongAnswer},
		{"multisign as text", good, `"multisign":1`, `"multisign":"1"`, WrongAnswer},
		{"mode", good, "explicit", "implicit", WrongAnswer},
		{"no mode", good, `"mode":"explicit",`, ``, WrongAnswer},
		{"factor of a new kind", good, `"Password"`, `"Face"`, WrongAnswer},
		{"factor twice", good, `[{"type"`, `[{"type":"Password","id":"PIN"},{"type"`, WrongAnswer},
		{"factor without id", good, `"PIN"`, `""`, WrongAnswer},
		{"other id", good, `{"key"`, `{"credentialID":"B","key"`, WrongAnswer},
		{"its id", good, `{"key"`, `{"credentialID":"A","key"`, ""},
		{"lines in a certificate", good, `"RSA"`, `"` + rsaCert[:60] + `\n` + rsaCert[60:] + `"`, WrongAnswer},
		{"bytes behind a certificate", good, `"RSA"`, `"` + encodedWith(t, rsaCert, 0) + `"`, WrongAnswer},
		{"eleven certificates", good, `"RSA"`, strings.Repeat(`"RSA",`, 10) + `"RSA"`, WrongAnswer},
		{"null", good, good, `null`, WrongAnswer},
		{"array", good, good, `[]`, WrongAnswer},
		{"two", good, `"multisign":1}`, `"multisign":1}{}`, WrongAnswer},
	} {
		body := x.from
		if x.old != "" {
			if body = strings.Replace(body, x.old, x.new, 1); body == x.from {
				t.Fatalf("%s: nothing changed", x.name)
			}
		}
		body = strings.NewReplacer(`"RSA"`, `"`+rsaCert+`"`, `"EC"`, `"`+ecCert+`"`).Replace(body)
		var j credentialJSON
		var cred *Credential
		err := c.decode("x", &answer{200, []byte(body)}, &j)
		if err == nil {
			cred, err = c.readCredential("x", "A", &j)
		}
		if x.reason == "" {
			if err != nil {
				t.Errorf("%s: %v", x.name, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: taken as %+v", x.name, cred)
			continue
		}
		wants(t, err, x.reason)
	}
}

// encodedWith appends a byte to what is encoded.
func encodedWith(t *testing.T, s string, more byte) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(append(b, more))
}

// Which algorithms a credential has, the usual one first, and how signAlgo names them.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	c := reader(t, 2)
	for _, x := range []struct {
		oids string
		bits int
		want []cms.Algorithm
		name string // of the first
	}{
		{"1.2.840.113549.1.1.1", 2048, []cms.Algorithm{cms.RS256, cms.RS384, cms.RS512}, "1.2.840.113549.1.1.1"},
		{"1.2.840.113549.1.1.1 1.2.840.113549.1.1.11", 2048, []cms.Algorithm{cms.RS256, cms.RS384, cms.RS512}, "1.2.840.113549.1.1.11"},
		{"1.2.840.113549.1.1.13", 2048, []cms.Algorithm{cms.RS512}, "1.2.840.113549.1.1.13"},
		{"1.2.840.113549.1.1.10", 2048, []cms.Algorithm{cms.PS256, cms.PS384, cms.PS512}, "1.2.840.113549.1.1.10"},
		{"1.2.840.113549.1.1.12 1.2.840.113549.1.1.10", 2048, []cms.Algorithm{cms.RS384, cms.PS256, cms.PS384, cms.PS512}, "1.2.840.113549.1.1.12"},
		{"1.2.840.10045.4.3.3", 384, []cms.Algorithm{cms.ES384}, "1.2.840.10045.4.3.3"},
		{"1.2.840.10045.4.3.2 9.9.9", 256, []cms.Algorithm{cms.ES256}, "1.2.840.10045.4.3.2"},
	} {
		body, err := json.Marshal(map[string]any{"key": map[string]any{"status": "enabled", "algo": strings.Fields(x.oids), "len": x.bits},
			"auth": map[string]any{"mode": "oauth2code"}, "multisign": 1})
		if err != nil {
			t.Fatal(err)
		}
		var j credentialJSON
		if err := json.Unmarshal(body, &j); err != nil {
			t.Fatal(err)
		}
		cred, err := c.readCredential("x", "A", &j)
		if err != nil || !slices.Equal(cred.Algorithms, x.want) || cred.oids[x.want[0]] != x.name {
			t.Errorf("%s: %+v, %v", x.oids, cred, err)
		}
	}
}
