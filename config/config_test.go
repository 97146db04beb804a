package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Each testdata/NAME.toml is broken in one way, and NAME.txt beside it is the
// whole error.
func TestBrokenFiles(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.toml")
	if len(files) < 20 {
		t.Fatalf("only %d broken files", len(files))
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".toml"), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(strings.TrimSuffix(f, "toml") + "txt")
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse("milterd.toml", b)
			if err == nil {
				t.Fatal("loads")
			}
			if got := err.Error() + "\n"; got != string(want) {
				t.Errorf("error is\n%swant\n%s", got, want)
			}
		})
	}
}

const minimal = `
domain = "sign.corp.test"
url = "https://sign.corp.test/"
[organisation]
name = "Corp GmbH"
country = "DE"
`

func TestDefaults(t *testing.T) {
	c, err := Parse("t", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Domain, want.URL = "sign.corp.test", "https://sign.corp.test"
	want.Organisation = Organisation{Name: "Corp GmbH", Country: "DE"}
	if c.URL != want.URL || c.Sessions != want.Sessions || c.Organisation != want.Organisation || c.Limits != want.Limits {
		t.Errorf("got %+v", c)
	}
	if got := c.SQLite(); got != "/var/lib/milterd/milterd.db" {
		t.Errorf("database is %s", got)
	}
	if n, a, err := c.Milter.Socket(); n != "unix" || a != "/var/spool/postfix/milterd/milter.sock" || err != nil {
		t.Error(n, a, err)
	}
}

func TestDuration(t *testing.T) {
	day := 24 * time.Hour
	for in, want := range map[string]time.Duration{
		"30d": 30 * day, "720h": 720 * time.Hour, "1d12h": 36 * time.Hour, "90m": 90 * time.Minute, "0d": 0,
		"": -1, "d": -1, "-1h": -1, "1.5d": -1, "1d-2h": -1, "999999d": -1, "1w": -1,
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(in)); (err != nil) != (want < 0) || err == nil && d.Duration != want {
			t.Errorf("%q gives %v, %v", in, d.Duration, err)
		}
	}
	for d, want := range map[time.Duration]string{30 * day: "30d", 36 * time.Hour: "1d12h", 90 * time.Minute: "1h30m", time.Hour: "1h", 0: "0s", 10 * time.Second: "10s"} {
		if got := (Duration{Duration: d}).String(); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]int64{
		"10240000": 10240000, "25MB": 25e6, "25 MiB": 25 << 20, "10240000B": 10240000, "1GiB": 1 << 30,
		"": -1, "MB": -1, "-1MB": -1, "1.5MB": -1, "9999999999GB": -1, "5 parsecs": -1,
	} {
		var z Size
		if err := z.UnmarshalText([]byte(in)); (err != nil) != (want < 0) || err == nil && int64(z) != want {
			t.Errorf("%q gives %d, %v", in, z, err)
		}
	}
}

// What parses must be within the bounds that the rest of the program relies on.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds")
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(minimal))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse("f", b)
		if err != nil {
			return
		}
		if c.Sessions.Deadline.Duration > MaxDeadline.Duration || (c.Sessions.Level != "standard" && c.Sessions.Level != "advanced") || len(c.Proofs.Standard) == 0 || len(c.Proofs.Advanced) == 0 || c.Jobs.Workers < 1 || c.URL == "" {
			t.Errorf("took %+v", c)
		}
		if len(c.Milter.Clients()) != len(c.Milter.TrustedClients) {
			t.Errorf("a trusted client got lost: %q", c.Milter.TrustedClients)
		}
	})
}

// A site that signs at level Advanced, with keys in a token.
func TestSigning(t *testing.T) {
	c, err := Parse("t", []byte(minimal+`
[sessions]
level = "advanced"
[proofs]
advanced = ["totp"]
[enrolment]
ways = ["device", "administrator"]
[certificates]
lifetime = "7d"
[keys]
token = ["issuing", "seal"]
module = "/usr/lib/softhsm/libsofthsm2.so"
label = "milterd"
pin_file = "/etc/milterd/token.pin"
passphrase = "keys.passphrase"
`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Sessions.Level != "advanced" || len(c.Proofs.Standard) != 3 || len(c.Proofs.Advanced) != 1 || c.Enrolment.PasswordTries != 3 ||
		c.Certificates.Lifetime != Days(7) || len(c.Keys.Token) != 2 {
		t.Errorf("got %+v", c)
	}
}
