package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

// The whole job through a real Postfix with mail in real maildirs, and what
// comes out of it before judges who know nothing of milterd.
func TestOnceThroughPostfix(t *testing.T) {
	for level, want := range map[workflow.Level]struct {
		sessions int
		pdfs     int
		signers  []string
		files    int // that are no PDF
	}{
		workflow.Standard: {5, 7, []string{"Example Corp"}, 3},
		workflow.Advanced: {5, 8, []string{"Example Corp", "Jane Roe", "John Doe"}, 2},
	} {
		t.Run(string(level), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
			defer cancel()
			dir := t.TempDir()
			var out bytes.Buffer
			ok, err := Run(ctx, Options{Once: true, Level: level, Postfix: true, Dir: dir, Out: &out})
			if err != nil || !ok {
				t.Fatalf("%v\n%s", err, out.String())
			}
			signed, err := filepath.Glob(filepath.Join(dir, "signed", "*.pdf"))
			if err != nil || len(signed) != want.pdfs {
				t.Fatalf("signed documents: %q, %v", signed, err)
			}
			signers := map[string]bool{}
			for _, file := range signed {
				t.Run(filepath.Base(file), func(t *testing.T) {
					for _, s := range judgeAll(t, file, filepath.Join(dir, "signed", "root.pem")) {
						signers[s] = true
					}
				})
			}
			if got := slices.Sorted(maps.Keys(signers)); !slices.Equal(got, want.signers) {
				t.Errorf("signers are %q, want %q", got, want.signers)
			}
			judgeFiles(t, filepath.Join(dir, "signed"), want.files)
			mails, err := filepath.Glob(filepath.Join(dir, "mail", "*.eml"))
			if err != nil {
				t.Fatal(err)
			}
			codes := 0
			for _, file := range mails {
				codes += judgeQR(t, file)
			}
			if codes < want.sessions {
				t.Errorf("%d mails with a QR code, want one for each invitation", codes)
			}
		})
	}
}

var signer = regexp.MustCompile(`Signer Certificate Common Name: (.*)`)

// judgeAll has every judge look at a document, and gives the names of those who
// signed it.
func judgeAll(t *testing.T, file, root string) (signers []string) {
	t.Helper()
	judge(t, "qpdf", "qpdf", "--check", file)
	// Of document timestamps this pdfsig says that it cannot tell.
	sig := judge(t, "poppler-utils", "pdfsig", "-nocert", file)
	if n, valid := strings.Count(sig, "ETSI.CAdES.detached"), strings.Count(sig, "Signature is Valid."); n == 0 || valid != n {
		t.Errorf("pdfsig: %d of %d signatures valid\n%s", valid, n, sig)
	}
	if strings.Count(sig, "Total document signed") != 1 {
		t.Errorf("pdfsig: nothing covers the whole document\n%s", sig)
	}
	judgeCMS(t, file, root)
	for _, part := range strings.Split(sig, "\nSignature #") {
		if m := signer.FindStringSubmatch(part); m != nil && strings.Contains(part, "ETSI.CAdES.detached") {
			signers = append(signers, m[1])
		}
	}
	return signers
}

// judgeFiles has xmlsec1 look at XML documents and openssl at each signature in a
// container, whose documents must be those of its manifests.
func judgeFiles(t *testing.T, dir string, want int) {
	t.Helper()
	root, n := filepath.Join(dir, "root.pem"), 0
	xmls, _ := filepath.Glob(filepath.Join(dir, "*-signed.xml"))
	for _, file := range xmls {
		n++
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		ids := regexp.MustCompile(`<ds:Signature [^>]*Id="([^"]+)"`).FindAllSubmatch(b, -1)
		if len(ids) != 2 {
			t.Errorf("%s holds %d signatures", file, len(ids))
		}
		for _, id := range ids {
			judge(t, "xmlsec1", "xmlsec1", "--verify", "--node-xpath", "//*[local-name()='Signature' and @Id='"+string(id[1])+"']", "--trusted-pem", root,
				"--enabled-key-data", "x509", "--id-attr:Id", "http://uri.etsi.org/01903/v1.3.2#:SignedProperties", file)
		}
	}
	containers, _ := filepath.Glob(filepath.Join(dir, "*.asice"))
	for _, file := range containers {
		n++
		folder := t.TempDir()
		judge(t, "unzip", "unzip", "-q", "-d", folder, file)
		manifests, _ := filepath.Glob(filepath.Join(folder, "META-INF", "ASiCManifest*.xml"))
		if len(manifests) != 2 {
			t.Errorf("%s holds %d manifests", file, len(manifests))
		}
		for _, manifest := range manifests {
			b, err := os.ReadFile(manifest)
			if err != nil {
				t.Fatal(err)
			}
			m := regexp.MustCompile(`(?s)SigReference URI="([^"]+)".*DataObjectReference URI="([^"]+)".*<ds:DigestValue>([^<]+)<`).FindSubmatch(b)
			if m == nil {
				t.Fatalf("manifest %s", b)
			}
			name, err := url.PathUnescape(string(m[2]))
			if err != nil {
				t.Fatal(err)
			}
			document, err := os.ReadFile(filepath.Join(folder, name))
			if sum := sha256.Sum256(document); err != nil || base64.StdEncoding.EncodeToString(sum[:]) != string(m[3]) {
				t.Errorf("%s: the digest of %s is another (%v)", file, name, err)
			}
			judge(t, "openssl", "openssl", "cms", "-verify", "-cades", "-binary", "-inform", "DER", "-purpose", "any", "-CAfile", root,
				"-in", filepath.Join(folder, string(m[1])), "-content", manifest, "-out", os.DevNull)
		}
	}
	if n != want {
		t.Errorf("%d files that are no PDF, want %d", n, want)
	}
}

// judge runs an outside program; it fails with the package to install.
func judge(t *testing.T, pkg, name string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("%s is missing: apt-get install -y %s", name, pkg)
	}
	if err != nil {
		t.Errorf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

var (
	byteRange = regexp.MustCompile(`/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*\]`)
)

// judgeCMS takes every signature and timestamp out of a PDF by its ByteRange
// and has openssl verify it against the demo's root.
func judgeCMS(t *testing.T, file, root string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir, signatures, stamps := t.TempDir(), 0, 0
	write := func(name string, parts ...[]byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, slices.Concat(parts...), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, m := range byteRange.FindAllSubmatchIndex(data, -1) {
		var n [4]int
		for i := range n {
			n[i], _ = strconv.Atoi(string(data[m[2+2*i]:m[3+2*i]]))
		}
		gap := bytes.Trim(data[n[1]:n[2]], "<>")
		der, err := hex.DecodeString(string(gap))
		if err != nil {
			t.Fatalf("Contents at %d: %v", n[1], err)
		}
		content := write("content", data[:n[1]], data[n[2]:n[2]+n[3]])
		sig := write("sig.der", der)
		// The dictionary that holds this ByteRange says what it is.
		from := bytes.LastIndex(data[:m[0]], []byte(" obj"))
		to := m[0] + bytes.Index(data[m[0]:], []byte("endobj"))
		if bytes.Contains(data[from:to], []byte("/ETSI.RFC3161")) {
			stamps++
			judge(t, "openssl", "openssl", "ts", "-verify", "-token_in", "-in", sig, "-data", content, "-CAfile", root)
			continue
		}
		signatures++
		judge(t, "openssl", "openssl", "cms", "-verify", "-cades", "-purpose", "any", "-binary", "-inform", "DER",
			"-in", sig, "-content", content, "-CAfile", root, "-out", filepath.Join(dir, "out"))
		if !strings.Contains(judge(t, "openssl", "openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", sig, "-noout"), "timeStampToken") {
			t.Errorf("signature %d has no timestamp", signatures)
		}
	}
	if signatures == 0 || stamps != 1 {
		t.Errorf("%d signatures, %d document timestamps", signatures, stamps)
	}
}

// judgeQR decodes the picture in an invitation with zbarimg: it must lead where
// the button leads. It gives the number of pictures that it found.
func judgeQR(t *testing.T, file string) (n int) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := (&Letter{Raw: raw}).Open()
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, part := range m.Inline {
		if part.Type != "image/png" {
			continue
		}
		png := filepath.Join(t.TempDir(), "qr.png")
		if err := os.WriteFile(png, part.Content, 0o600); err != nil {
			t.Fatal(err)
		}
		n++
		// zbarimg prints a complaint about a missing D-Bus before its result.
		lines := strings.Split(strings.TrimSpace(judge(t, "zbar-tools", "zbarimg", "--quiet", "--raw", "--nodbus", png)), "\n")
		got := lines[len(lines)-1]
		if got != m.Link() || got == "" {
			t.Errorf("%s: QR code says %q, the link is %q", filepath.Base(file), got, m.Link())
		}
	}
	return n
}
