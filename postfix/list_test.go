package postfix

import (
	"slices"
	"strings"
	"testing"
)

const (
	ourMilter = "{ unix:milterd/milter.sock, default_action=accept, connect_timeout=2s }"
	ourTable  = "inline:{ {sign.corp.com = lmtp:unix:milterd/lmtp.sock} }"
	ourAccess = "check_recipient_access inline:{ {sign.corp.com = permit_sasl_authenticated, reject} }"
)

func TestMerge(t *testing.T) {
	for name, c := range map[string]struct{ parameter, now, ours, want string }{
		"empty":                 {"smtpd_milters", "", ourMilter, ourMilter},
		"behind others":         {"smtpd_milters", "inet:localhost:8891 unix:/run/x", ourMilter, "inet:localhost:8891 unix:/run/x, " + ourMilter},
		"behind a comma":        {"smtpd_milters", "inet:localhost:8891,", ourMilter, "inet:localhost:8891, " + ourMilter},
		"behind a reference":    {"non_smtpd_milters", "$smtpd_milters", ourMilter, "$smtpd_milters, " + ourMilter},
		"there":                 {"smtpd_milters", "inet:a:1, " + ourMilter, ourMilter, "inet:a:1, " + ourMilter},
		"not last":              {"smtpd_milters", ourMilter + ", inet:a:1", ourMilter, "inet:a:1, " + ourMilter},
		"twice":                 {"smtpd_milters", ourMilter + ", inet:a:1, " + ourMilter, ourMilter, "inet:a:1, " + ourMilter},
		"bare":                  {"smtpd_milters", "unix:milterd/milter.sock", ourMilter, ourMilter},
		"other settings":        {"smtpd_milters", "{unix:milterd/milter.sock,  default_action=tempfail}, inet:a:1", ourMilter, "inet:a:1, " + ourMilter},
		"old table":             {"transport_maps", "hash:/etc/postfix/transport, inline:{ {sign.corp.com = lmtp:unix:/run/old} }", ourTable, "hash:/etc/postfix/transport, " + ourTable},
		"table of others":       {"transport_maps", "inline:{ {corp.com = smtp:x} {sign.corp.com = y:} }", ourTable, "inline:{ {corp.com = smtp:x} {sign.corp.com = y:} }, " + ourTable},
		"restrictions":          {"smtpd_recipient_restrictions", "permit_mynetworks,reject_unauth_destination", ourAccess, ourAccess + ", permit_mynetworks,reject_unauth_destination"},
		"restrictions, not 1st": {"smtpd_recipient_restrictions", "permit_mynetworks, " + ourAccess + ", reject", ourAccess, ourAccess + ", permit_mynetworks, reject"},
		"restrictions, older": {"smtpd_recipient_restrictions", "check_recipient_access inline:{ {sign.corp.com = reject} } permit_mynetworks", ourAccess,
			ourAccess + ", permit_mynetworks"},
		"restrictions of others": {"smtpd_recipient_restrictions", "check_recipient_access hash:/etc/postfix/access", ourAccess, ourAccess + ", check_recipient_access hash:/etc/postfix/access"},
		"domains":                {"relay_domains", "$mydestination corp.org", "sign.corp.com", "$mydestination corp.org, sign.corp.com"},
		"open brace":             {"smtpd_milters", "{ inet:a:1, x=y", ourMilter, "{ inet:a:1, x=y, " + ourMilter},
	} {
		t.Run(name, func(t *testing.T) {
			where := placeOf(c.parameter)
			got := merge(c.now, c.ours, where)
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if again := merge(got, c.ours, where); again != got && name != "open brace" {
				t.Errorf("a second time: %s", again)
			}
			if name != "open brace" && !stands(got, c.ours, where) {
				t.Errorf("%s is not taken for done", got)
			}
		})
	}
}

func TestSeen(t *testing.T) {
	for listen, want := range map[string]string{
		"unix:/var/spool/postfix/milterd/milter.sock": "unix:milterd/milter.sock",
		"unix:/var/spool/postfix/../x":                "unix:/var/spool/postfix/../x",
		"unix:/var/spool/postfixed/x":                 "unix:/var/spool/postfixed/x",
		"unix:/run/milterd/milter.sock":               "unix:/run/milterd/milter.sock",
		"inet:127.0.0.1:8891":                         "inet:127.0.0.1:8891",
	} {
		if got := Seen(listen, "/var/spool/postfix"); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}

// What others wrote into a list survives ours, in its order, and a second time
// changes nothing.
func FuzzMerge(f *testing.F) {
	for _, v := range []string{"", "a, b", "$x {y z},", "inline:{ {sign.corp.com = x} }", "{", "a } b", "check_recipient_access", "\t,\n" + ourMilter} {
		f.Add(v, uint8(0))
		f.Add(v, uint8(1))
	}
	f.Fuzz(func(t *testing.T, value string, kind uint8) {
		parameter, ours := "smtpd_milters", ourMilter
		if kind%2 == 1 {
			parameter, ours = "smtpd_recipient_restrictions", ourAccess
		}
		if strings.Count(value, "{") != strings.Count(value, "}") || strings.ContainsAny(value, "\x00") {
			return // what is never closed swallows what follows, in Postfix too
		}
		depth := 0
		for _, c := range value {
			depth += map[rune]int{'{': 1, '}': -1}[c]
			if depth < 0 {
				return
			}
		}
		where := placeOf(parameter)
		got := merge(value, ours, where)
		if again := merge(got, ours, where); again != got {
			t.Errorf("%q becomes %q and then %q", value, got, again)
		}
		if !stands(got, ours, where) {
			t.Errorf("%q becomes %q, where ours is not in its place", value, got)
		}
		rest := words(got)
		for _, w := range words(value) {
			i := slices.Index(rest, w)
			if i < 0 && !supersedes(words(ours)[len(words(ours))-1], w) && w != "check_recipient_access" {
				t.Errorf("%q becomes %q: %q is gone", value, got, w)
			}
		}
	})
}
