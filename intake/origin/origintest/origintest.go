// Package origintest signs mails with DKIM for tests that attack the check of
// signatures: everything in a signature can be set, the wrong things too.
//
// Reference: RFC 6376.
package origintest

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync"
)

// Zone is a DNS with TXT records, by name without a dot at the end.
type Zone struct {
	mu      sync.Mutex
	Records map[string][]string
	Away    error    // what every question gets
	Asked   []string // every question
}

// LookupTXT implements origin.Resolver.
func (z *Zone) LookupTXT(ctx context.Context, name string) ([]string, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.Asked = append(z.Asked, name)
	if z.Away != nil {
		return nil, z.Away
	}
	if txt, ok := z.Records[strings.ToLower(strings.TrimSuffix(name, "."))]; ok {
		return txt, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// Key is a DKIM key.
type Key struct {
	Signer crypto.Signer // *rsa.PrivateKey or ed25519.PrivateKey
}

// RSA makes a key of so many bits.
func RSA(bits int) Key {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return Key{k}
}

// Ed25519 makes a key of RFC 8463.
func Ed25519() Key {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return Key{k}
}

// Record is the key's TXT record; more is put before p=, for example "t=y; ".
func (k Key) Record(more string) string {
	switch pub := k.Signer.Public().(type) {
	case ed25519.PublicKey:
		return "v=DKIM1; k=ed25519; " + more + "p=" + base64.StdEncoding.EncodeToString(pub)
	default:
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			panic(err)
		}
		return "v=DKIM1; k=rsa; " + more + "p=" + base64.StdEncoding.EncodeToString(der)
	}
}

// Tag is one tag of a signature.
type Tag struct{ name, value string }

// T makes a tag.
func T(name, value string) Tag { return Tag{name, value} }

// Signed is the h= of a signature that covers what is asked for.
const Signed = "From:To:Cc:Subject:Date:Message-ID:MIME-Version:Content-Type:Content-Transfer-Encoding"

// Sign puts a signature on top of a mail with CRLF line ends. Without tags it
// is as it should be, of domain and selector, relaxed, made at unix; a tag
// replaces the one of its name, and one without value is left out.
func (k Key) Sign(mail []byte, domain, selector string, unix int64, tags ...Tag) []byte {
	alg := "rsa-sha256"
	if _, ok := k.Signer.(ed25519.PrivateKey); ok {
		alg = "ed25519-sha256"
	}
	all := []Tag{{"v", "1"}, {"a", alg}, {"c", "relaxed/relaxed"}, {"d", domain}, {"s", selector},
		{"t", fmt.Sprint(unix)}, {"h", Signed}}
next:
	for _, t := range tags {
		for i := range all {
			if all[i].name == t.name {
				all[i].value = t.value
				continue next
			}
		}
		all = append(all, t)
	}
	get := func(name string) string {
		for _, t := range all {
			if t.name == name {
				return t.value
			}
		}
		return ""
	}
	head, body, _ := strings.Cut(string(mail), "\r\n\r\n")
	head += "\r\n"
	hc, bc, _ := strings.Cut(get("c"), "/")
	canonical := Body(body, bc == "relaxed")
	if l := get("l"); l != "" {
		n := 0
		fmt.Sscan(l, &n)
		canonical = canonical[:n]
	}
	bh := sha256.Sum256([]byte(canonical))
	field := "DKIM-Signature:"
	for _, t := range append(all, Tag{"bh", base64.StdEncoding.EncodeToString(bh[:])}) {
		if t.value != "" {
			field += " " + t.name + "=" + t.value + ";\r\n"
		}
	}
	field += " b="
	digest := sha256.New()
	taken := map[string]int{}
	for name := range strings.SplitSeq(get("h"), ":") {
		name = strings.ToLower(strings.TrimSpace(name))
		digest.Write([]byte(header(pick(head, name, taken), hc == "relaxed")))
	}
	digest.Write([]byte(strings.TrimSuffix(header(field+"\r\n", hc == "relaxed"), "\r\n")))
	opts := crypto.SignerOpts(crypto.SHA256)
	if alg == "ed25519-sha256" {
		opts = crypto.Hash(0)
	}
	sig, err := k.Signer.Sign(rand.Reader, digest.Sum(nil), opts)
	if err != nil {
		panic(err)
	}
	b := base64.StdEncoding.EncodeToString(sig)
	for len(b) > 70 {
		field, b = field+b[:70]+"\r\n ", b[70:]
	}
	return []byte(field + b + "\r\n" + string(mail))
}

// pick takes the fields of a name from the bottom up (RFC 6376, 5.4.2).
func pick(head, name string, taken map[string]int) string {
	var found []string
	for _, l := range strings.SplitAfter(head, "\r\n") {
		if l != "" && (l[0] == ' ' || l[0] == '\t') && len(found) > 0 {
			found[len(found)-1] += l
		} else if l != "" {
			found = append(found, l)
		}
	}
	skip := taken[name]
	taken[name]++
	for i := len(found) - 1; i >= 0; i-- {
		if n, _, _ := strings.Cut(found[i], ":"); strings.EqualFold(strings.TrimSpace(n), name) {
			if skip == 0 {
				return found[i]
			}
			skip--
		}
	}
	return ""
}

func header(f string, relaxed bool) string {
	if !relaxed || f == "" {
		return f
	}
	name, value, _ := strings.Cut(f, ":")
	return strings.ToLower(strings.TrimSpace(name)) + ":" + strings.Join(strings.Fields(value), " ") + "\r\n"
}

// Body is a canonical body (RFC 6376, 3.4.3 and 3.4.4).
func Body(body string, relaxed bool) string {
	lines := strings.Split(body, "\r\n")
	if relaxed {
		for i, l := range lines {
			blank := strings.HasPrefix(l, " ") || strings.HasPrefix(l, "\t")
			lines[i] = strings.Join(strings.FieldsFunc(l, func(r rune) bool { return r == ' ' || r == '\t' }), " ")
			if blank && lines[i] != "" {
				lines[i] = " " + lines[i]
			}
		}
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 && relaxed {
		return ""
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}
