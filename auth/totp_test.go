package auth_test

import (
	"bytes"
	"image"
	_ "image/png"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"milterd/auth"
	"milterd/workflow"
)

// app is John's app: it shows passwords for a secret.
func (d *desk) app(t *testing.T, uri string) func(time.Duration) string {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" {
		t.Fatalf("%s: %v", uri, err)
	}
	return func(later time.Duration) string {
		code, err := totp.GenerateCode(u.Query().Get("secret"), d.clock.Add(later))
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
}

// enrolTOTP takes an app in.
func (d *desk) enrolTOTP(t *testing.T) (*workflow.Credential, func(time.Duration) string) {
	t.Helper()
	n := d.begin(t, d.john)
	want(t, "approve", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	uri, _, ceremony, err := d.totp.Begin(t.Context(), d.john, n.Handle)
	want(t, "begin", reason(err), "")
	app := d.app(t, uri)
	c, cookie, _, err := d.totp.Finish(t.Context(), d.john, n.Handle, ceremony, app(0), "", client, agent)
	want(t, "finish", reason(err), "")
	if cookie == "" || c.Kind != workflow.TOTP || c.Name != agent || c.ApprovedBy != "administrator" {
		t.Errorf("%+v", c)
	}
	return c, app
}

func (d *desk) signTOTP(t *testing.T, code string) (workflow.Proof, string) {
	consume, err := d.totp.ForSigning(t.Context(), d.john, code, client)
	return d.consume(consume, err, nil)
}

func TestTOTP(t *testing.T) {
	d := newDesk(t)
	_, r := d.signTOTP(t, "123456")
	want(t, "none enrolled", r, "no-totp")
	c, app := d.enrolTOTP(t)
	_, r = d.signTOTP(t, app(0))
	want(t, "the password that enrolled", r, "wrong-totp")
	d.clock = d.clock.Add(time.Minute)
	code := app(0)
	proof, r := d.signTOTP(t, code[:3]+" "+code[3:])
	want(t, "sign", r, "")
	if proof.Method != "one-time password" || proof.Device != c.Name || proof.Assertion != nil {
		t.Errorf("%+v", proof)
	}
	_, r = d.signTOTP(t, code)
	want(t, "the same again", r, "wrong-totp")
	_, r = d.signTOTP(t, app(-30*time.Second))
	want(t, "the one before", r, "wrong-totp")
	_, r = d.signTOTP(t, app(30*time.Second))
	want(t, "of a clock that is fast", r, "")
	_, r = d.signTOTP(t, app(90*time.Second))
	want(t, "of a clock that is wrong", r, "wrong-totp")

	d.clock = d.clock.Add(2 * time.Minute)
	k, err := d.totp.ForKey(t.Context(), d.john, app(0), client)
	if err != nil || k.ID != c.ID {
		t.Errorf("for a key: %+v, %v", k, err)
	}
	_, r = d.signTOTP(t, app(0))
	want(t, "after it served for a key", r, "wrong-totp")
	if n := len(d.events(t, workflow.EventTOTPWrong)); n != 5 {
		t.Errorf("%d wrong ones on record", n)
	}
}

// The QR code says what the link says, to a phone.
func TestTOTPPicture(t *testing.T) {
	d := newDesk(t)
	n := d.begin(t, d.john)
	want(t, "approve", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	uri, png, _, err := d.totp.Begin(t.Context(), d.john, n.Handle)
	want(t, "begin", reason(err), "")
	if _, kind, err := image.DecodeConfig(bytes.NewReader(png)); err != nil || kind != "png" {
		t.Errorf("%s, %v", kind, err)
	}
	file := filepath.Join(t.TempDir(), "qr.png")
	if err := os.WriteFile(file, png, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("zbarimg", "--quiet", "--raw", file).Output()
	if err != nil || strings.TrimSpace(string(out)) != uri {
		t.Errorf("zbarimg (apt-get install zbar-tools) reads %q, want %s: %v", out, uri, err)
	}
	if !strings.Contains(uri, "/Corp:john.doe@corp.test?") || !strings.Contains(uri, "issuer=Corp") {
		t.Error(uri)
	}
}

// Two tabs hand in the same password: one signs.
func TestTOTPTwiceAtOnce(t *testing.T) {
	d := newDesk(t)
	_, app := d.enrolTOTP(t)
	d.clock = d.clock.Add(time.Minute)
	code := app(0)
	var mu sync.Mutex
	signed := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, r := d.signTOTP(t, code); r == "" {
				mu.Lock()
				defer mu.Unlock()
				signed++
			}
		})
	}
	wg.Wait()
	if signed != 1 {
		t.Errorf("eight at once: %d signed", signed)
	}
}

func TestTOTPTriesAreRationed(t *testing.T) {
	d := newDesk(t)
	_, app := d.enrolTOTP(t)
	d.clock = d.clock.Add(time.Minute)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { d.signTOTP(t, other(app(0))) })
	}
	wg.Wait()
	_, r := d.signTOTP(t, app(0))
	want(t, "right, after twenty guesses at once", r, "too-many-totp")
	if n := len(d.events(t, workflow.EventTOTPWrong)); n != auth.TOTPTriesPerHour {
		t.Errorf("%d were looked at", n)
	}
	for range 3 {
		d.clock = d.clock.Add(time.Hour + time.Second)
		for range auth.TOTPTriesPerHour {
			_, r = d.signTOTP(t, other(app(0)))
			want(t, "wrong", r, "wrong-totp")
		}
	}
	d.clock = d.clock.Add(time.Hour + time.Second)
	_, r = d.signTOTP(t, app(0))
	want(t, "right, after twenty in a day", r, "too-many-totp")
}

func TestTOTPEnrolmentTries(t *testing.T) {
	d := newDesk(t)
	n := d.begin(t, d.john)
	want(t, "approve", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	uri, _, ceremony, err := d.totp.Begin(t.Context(), d.john, n.Handle)
	want(t, "begin", reason(err), "")
	app := d.app(t, uri)
	finish := func(code string) string {
		_, _, _, err := d.totp.Finish(t.Context(), d.john, n.Handle, ceremony, code, "", client, agent)
		return reason(err)
	}
	for range auth.TOTPTriesPerHour {
		want(t, "wrong", finish(other(app(0))), "wrong-totp")
	}
	want(t, "right, after five", finish(app(0)), "ceremony-gone")
}

func TestTOTPRevoked(t *testing.T) {
	d := newDesk(t)
	c, app := d.enrolTOTP(t)
	d.clock = d.clock.Add(time.Minute)
	consume, err := d.totp.ForSigning(t.Context(), d.john, app(0), client)
	want(t, "before", reason(err), "")
	d.revoke(t, c.ID)
	_, r := d.consume(consume, nil, nil)
	want(t, "revoked between check and use", r, "wrong-totp")
	_, r = d.signTOTP(t, app(0))
	want(t, "revoked", r, "no-totp")
}

// Whoever reads the database, or moves rows in it, has no secret.
func TestTOTPSecretIsSealed(t *testing.T) {
	d := newDesk(t)
	c, app := d.enrolTOTP(t)
	d.clock = d.clock.Add(time.Minute)
	if bytes.Contains(c.Data, []byte(app(0))) || len(c.Data) < 60 {
		t.Errorf("%s", c.Data)
	}
	// John's secret, in a row of Jane's.
	err := d.Store.Do(t.Context(), func(tx workflow.Tx) error {
		return tx.SaveCredential(&workflow.Credential{ID: "moved", Mail: "jane@corp.test", Kind: workflow.TOTP, Data: c.Data})
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.totp.ForSigning(t.Context(), d.jane, app(0), client)
	if reason(err) != "store-away" || !strings.Contains(err.Error(), "cannot be read with this master key") {
		t.Errorf("a moved secret: %v", err)
	}
	keys, err := auth.NewKeys(bytes.Repeat([]byte{2}, 32))
	if err != nil {
		t.Fatal(err)
	}
	d.Keys = keys
	_, r := d.signTOTP(t, app(0))
	want(t, "with another master key", r, "store-away")
}
