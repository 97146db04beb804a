package postfix_test

import (
	"strings"
	"testing"

	"milterd/postfix"
)

// TestSmuggling: an end of data that is none (CVE-2023-51764) smuggles a second
// mail, with any sender and within the login of the first, past a Postfix with
// the defaults of Debian 12 or with the default exclusions. With the printed
// settings it smuggles nothing, at either door.
func TestSmuggling(t *testing.T) {
	ends := map[string]string{"LF.LF": "\n.\n", "LF.CRLF": "\n.\r\n", "CR.CR": "\r.\r", "CR.CRLF": "\r.\r\n", "CRLF.CR": "\r\n.\r",
		"CRLF.LF": "\r\n.\n", "CR.LF": "\r.\n", "LF.CR": "\n.\r", "CRLF CR.CRLF": "\r\n\r.\r\n", "NUL": "\r\n\x00.\r\n", "CRLF.CRCRLF": "\r\n.\r\r\n"}
	for name, c := range map[string]struct {
		settings []string
		forged   string // the ends that smuggle
	}{
		"printed":               {},
		"by LMTP":               {settings: []string{"smtpd_milters ="}},
		"by LMTP with stray CR": {settings: []string{"smtpd_milters =", "cleanup_replace_stray_cr_lf = no"}},
		"Debian 12":             {[]string{"smtpd_forbid_bare_newline = no"}, "LF.LF LF.CRLF CRLF.LF CRLF.CRCRLF"},
		"default exclusions":    {[]string{"smtpd_forbid_bare_newline_exclusions = $mynetworks"}, "LF.LF LF.CRLF CRLF.LF CRLF.CRCRLF"},
	} {
		t.Run(name, func(t *testing.T) {
			s := build(t, postfix.Options{Settings: c.settings})
			for end, bytes := range ends {
				forged := strings.Contains(" "+c.forged+" ", " "+end+" ")
				k := s.dial(t, "jane")
				k.ok("MAIL FROM:<jane@corp.test>", "RCPT TO:<self@sign.corp.test>", "DATA")
				k.send("Subject: honest\r\n\r\nbody" + bytes + "MAIL FROM:<bob@corp.test>\r\nRCPT TO:<john.doe@sign.corp.test>\r\nDATA\r\n" +
					"Subject: forged\r\n\r\nbody\r\n.\r\nQUIT\r\n")
				for r := k.reply(); !strings.HasPrefix(r, "221"); r = k.reply() {
				}
				want := 1
				if forged {
					want = 2
				}
				for i, m := range s.clerk.wait(t, want) {
					if i == 0 && (m.From != "jane@corp.test" || !strings.Contains(m.raw, "Subject: honest")) || i == 1 && m.From != "bob@corp.test" {
						t.Errorf("%s: mail %d is of %s: %q", end, i, m.From, m.raw)
					}
				}
			}
			s.empty(t)
		})
	}
}
