package cases

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	c, err := Parse("a", "# about\n\nlogin jane\nmail <>\n< 550 5.7.1 No.\nrcpt a@b\nrset\n> opened level=Standard\n> nothing bob@corp.test\nsetup store away\n")
	if err != nil {
		t.Fatal(err)
	}
	want := "[{3 login jane } {4 mail <> 550 5.7.1 No.} {6 rcpt a@b } {7 rset  } {8 > opened level=Standard } {9 > nothing bob@corp.test } {10 setup store away }]"
	if got := fmt.Sprint(c.steps); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if !slices.Equal(c.Needs(), []string{"setup"}) {
		t.Errorf("needs %v", c.Needs())
	}
	for text, want := range map[string]string{
		"":                          "1: an empty case",
		"mial a@b":                  `1: "mial a@b" is no step`,
		"mail":                      `1: "mail" is no step`,
		"rset now":                  `1: "rset now" is no step`,
		"< 250 Ok":                  "1: a reply without its step",
		"mail a@b\n< 250\n< 250 Ok": "3: a reply without its step",
		"> delivers a@b x.eml":      `1: "> delivers a@b x.eml" is no step`,
	} {
		if _, err := Parse("a", text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// TestAll: every case of the project can be read, and every bad input has one.
func TestAll(t *testing.T) {
	all, err := Load("../../testdata/cases")
	if err != nil || len(all) < 30 {
		t.Fatalf("%d cases, %v", len(all), err)
	}
	more, err := Load("../../testdata/cases/senders")
	if err != nil || len(more) < 10 {
		t.Fatalf("%d cases about senders, %v", len(more), err)
	}
	all = append(all, more...)
	text := ""
	for _, c := range all {
		for _, s := range c.steps {
			text += s.verb + " " + s.arg + "\n"
		}
	}
	for _, bad := range []string{"no-attachment.eml", "no-pdf.eml", "two-levels.eml", "encrypted-pdf.eml", "xfa-pdf.eml", "broken-pdf.eml",
		"rcpt jon.doe@", "megabytes ", "parts 10000", "bad-base64.eml", "mail <>", "auto-replied.eml", "own-mail.eml", "setup store away",
		"duplicate-encoding.eml", "encoded-multipart.eml", "boundary-comment.eml", "boundary-two-ways.eml", "boundary-encoded.eml",
		"from-group.eml", "from-name-trick.eml", "from-comment.eml", "hops.eml",
		"sign corp.test", "sign elsewhere.test", "setup dns away", "setup blocked ", "setup request ", "setup sign ", "> outcome dropped"} {
		if !strings.Contains(text, bad) {
			t.Errorf("no case has %s", bad)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		got, want string
		ok        bool
	}{
		{"250 2.0.0 Ok", "", true},
		{"354 Go", "", true},
		{"550 5.1.1 No.", "", false},
		{"550 5.1.1 No.", "550", true},
		{"550 5.1.1 No.", "550 5.1.1 No.", true},
		{"550 5.1.1 No.", "550 5.1.1 No", false},
		{"550 5.1.1 No.", "554", false},
		{"250 Ok", "550 5.1.1 No.", false},
	} {
		if err := check(c.got, c.want); (err == nil) != c.ok {
			t.Errorf("%q against %q: %v", c.got, c.want, err)
		}
	}
}

func TestWithoutTrace(t *testing.T) {
	got := string(withoutTrace([]byte("Return-Path: <a@b>\r\nReceived: x\r\n\tby y\r\nSubject: z\r\nReceived: stays\r\n\r\nbody\r\n")))
	if got != "Subject: z\nReceived: stays\n\nbody\n" {
		t.Errorf("got %q", got)
	}
}
