package cases

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
)

// generate makes the mails that are too large for a file: "parts N" has N
// attachments, "megabytes N" one of N MB, "deep N" N multiparts in each other.
func generate(what string, n int) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: Jane Doe <jane@corp.test>\nTo: john.doe@sign.corp.test\nSubject: Large\n"+
		"Date: Mon, 23 Nov 2026 10:00:00 +0000\nMessage-ID: <@CASE@@corp.test>\nMIME-Version: 1.0\n")
	const pdf = "Content-Type: application/pdf; name=\"a.pdf\"\nContent-Transfer-Encoding: base64\n" +
		"Content-Disposition: attachment; filename=\"a.pdf\"\n\n"
	switch what {
	case "parts":
		b.WriteString("Content-Type: multipart/mixed; boundary=b\n\n")
		for range n {
			b.WriteString("--b\n" + pdf + "JVBERi0=\n")
		}
		b.WriteString("--b--\n")
	case "deep":
		for i := range n {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
		}
		b.WriteString(pdf + "JVBERi0=\n")
		for i := n - 1; i >= 0; i-- {
			fmt.Fprintf(&b, "--b%d--\n", i)
		}
	case "megabytes":
		b.WriteString("Content-Type: multipart/mixed; boundary=b\n\n--b\n" + pdf)
		line := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 57)) + "\n"
		b.WriteString(strings.Repeat(line, n<<20/len(line)))
		b.WriteString("--b--\n")
	default:
		return nil, fmt.Errorf("no mail is generated for %q", what)
	}
	return b.Bytes(), nil
}
