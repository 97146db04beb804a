package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"milterd/auth"
	"milterd/workflow"
)

// revokedKey is the reason keyCompromise (RFC 5280, 5.3.1).
const revokedKey = 1

// advanced does the cases of level Advanced: the same two, with an enrolment
// each, and a third in which everything is tried that must be refused.
func (r *run) advanced(ctx context.Context) {
	fmt.Fprintf(r.out, "Devices: a %s answers in place of passkeys,\nand keys of people's own are in this process's memory. Both speak to the page's own interface.\n", SoftwareDevice)
	cases := scenarios(r.people)
	for i := range cases {
		c := &cases[i]
		c.title += ", at level Advanced"
		c.draft.Subject = strings.NewReplacer("[Standard]", "[Advanced]", ": standard", ": advanced").Replace(c.draft.Subject)
	}
	var devices []*Device
	var first *visitor
	for _, c := range cases {
		fmt.Fprintf(r.out, "%s\n", c.title)
		ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
		d, v := NewDevice(r.pages), &visitor{scenario: c}
		_ = r.invite(ctx, v) && r.openByCode(ctx, v) && r.enrol(ctx, v, d) && r.signOwn(ctx, v, d) && r.result(ctx, v, r.byDevice(v, d))
		cancel()
		if devices = append(devices, d); first == nil {
			first = v
		}
	}
	// At this level XML goes into a container, too: the device finds the digest of what it showed there.
	for _, c := range files(r.people)[:2] {
		c.title, c.draft.Subject = c.title+", in a container, at level Advanced", "[Advanced] "+c.draft.Subject
		fmt.Fprintf(r.out, "%s\n", c.title)
		ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
		v := &visitor{scenario: c}
		_ = r.invite(ctx, v) && r.openByPasskey(ctx, v, devices[0]) && r.signOwn(ctx, v, devices[0]) && r.result(ctx, v, r.byDevice(v, devices[0]))
		cancel()
	}
	c := cases[0]
	c.name, c.title, c.draft.Subject = "again", "Jane signs once more; what is off is refused", "[Advanced] Framework agreement, annex"
	fmt.Fprintf(r.out, "%s\n", c.title)
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	v, jane, john := &visitor{scenario: c}, devices[0], devices[1]
	_ = r.invite(ctx, v) && r.openByPasskey(ctx, v, jane) && r.attack(ctx, v, jane, john, first) &&
		r.signOwn(ctx, v, jane) && r.result(ctx, v, r.byDevice(v, jane)) && r.secondDevice(ctx, v, jane)
}

// openByPasskey opens without a mailed code, on a device that no cookie remembers.
func (r *run) openByPasskey(ctx context.Context, v *visitor, d *Device) bool {
	return r.step("passkey opens the document, without a code", func() (string, error) {
		if err := v.b.Open(ctx, d); err != nil {
			return "", err
		}
		return v.read(ctx)
	})
}

// enrol takes a device in: the mailbox is proven, the administrator is the
// second proof.
func (r *run) enrol(ctx context.Context, v *visitor, d *Device) bool {
	var e Enrolling
	before := len(r.boxes.In(""))
	return r.step("device asks to be enrolled", func() (note string, err error) {
		e, err = v.b.BeginEnrolment(ctx)
		return "number " + e.Number, err
	}) && r.step("no certificate for a mailbox alone", func() (string, error) {
		return refusedFor(v.b.Register(ctx, d, e), "not-approved")
	}) && r.step("administrator approves, as milterd device approve does", func() (string, error) {
		return "", r.program.Enrolments.Approve(ctx, e.Enrolment, "administrator")
	}) && r.step("passkey registered, key certified", func() (string, error) {
		if err := v.b.Register(ctx, d, e); err != nil {
			return "", err
		}
		return fmt.Sprintf("serial %s, until %s; %s, client-held key", d.Certificate.Serial, d.Certificate.Until.Format(time.DateOnly), SoftwareDevice), nil
	}) && r.step("mail to "+v.signatory.Mail+" about the new device", func() (string, error) {
		_, err := r.next(ctx, v.signatory.Mail, before, func(m *Message) bool { return strings.Contains(m.Text, SoftwareDevice) })
		return "", err
	})
}

// signOwn signs with the device's key.
func (r *run) signOwn(ctx context.Context, v *visitor, d *Device) bool {
	var p Preparation
	return r.step("revision prepared, loaded and checked by the device", func() (note string, err error) {
		if p, err = v.prepare(ctx, d); err != nil {
			return "", err
		}
		return fmt.Sprintf("%d bytes, attributes %.16s…", p.Documents[0].Size, p.Digests()[0]), nil
	}) && r.step("signed by the device's key, after one answer of its passkey", func() (string, error) {
		values, err := d.Values(p)
		if err != nil {
			return "", err
		}
		if v.answer, err = v.b.Ask(ctx, d, "sign", p.Digests()...); err != nil {
			return "", err
		}
		return "", v.b.Finish(ctx, p, values, v.answer)
	})
}

// byDevice judges a contract that a device has signed.
func (r *run) byDevice(v *visitor, d *Device) func([]byte) (string, error) {
	return func(content []byte) (string, error) { return r.judgeOwn(content, v.signatory, d.Certificate.Chain[0]) }
}

func (v *visitor) prepare(ctx context.Context, d *Device) (Preparation, error) {
	return v.b.Prepare(ctx, d, v.shown, map[int][]byte{0: v.content}, v.files(), v.appearance)
}

// files names the document if it goes into a container.
func (v *visitor) files() map[int]string {
	if f := v.draft.File; f.Type != Sample().Type {
		return map[int]string{0: f.Name}
	}
	return nil
}

// attack tries what must be refused and stand on record: an answer that was
// given before, a document that is swapped after the passkey approved another,
// somebody else's passkey and key, a certificate that is revoked. At last one tap
// makes the device a new key.
func (r *run) attack(ctx context.Context, v *visitor, own, other *Device, earlier *visitor) bool {
	var p Preparation
	finish := func(by *Device, answer Answer) error {
		values, err := by.Values(p)
		if err != nil {
			return err
		}
		return v.b.Finish(ctx, p, values, answer)
	}
	fresh := func(name, want string, by *Device, approved ...workflow.Digest) bool {
		return r.step(name+" refused", func() (string, error) {
			answer, err := v.b.Ask(ctx, own, "sign", approved...)
			if err != nil {
				return "", err
			}
			return refusedFor(finish(by, answer), want)
		})
	}
	return r.step("revision prepared", func() (_ string, err error) {
		p, err = v.prepare(ctx, own)
		return "", err
	}) && r.step("replayed answer of the passkey refused", func() (string, error) {
		return refusedFor(finish(own, earlier.answer), "ceremony-gone")
	}) && r.step("somebody else's passkey refused", func() (string, error) {
		var c ceremony
		if _, _, err := v.b.Post(ctx, "passkey/begin", map[string]any{"purpose": "sign", "digests": p.Digests()}, &c); err != nil {
			return "", err
		}
		other.Passkey.Key, own.Passkey.Key = nil, other.Passkey
		response, err := own.Passkey.Get(c.Options)
		own.Passkey.Key = nil
		if err != nil {
			return "", err
		}
		return refusedFor(finish(own, Answer{c.Ceremony, response}), "passkey-refused")
	}) && fresh("swapped document", "digest-mismatch", own, workflow.Digest(slices.Repeat([]byte{7}, 32))) &&
		fresh("signature by another key", "bad-value", other, p.Digests()...) &&
		r.step("certificate revoked, as milterd ca revoke does", func() (string, error) {
			return "serial " + own.Certificate.Serial, r.program.Desk.RevokeCertificate(ctx, own.Certificate.Serial, revokedKey, "administrator")
		}) &&
		fresh("signature with the revoked certificate", "certificate-revoked", own, p.Digests()...) &&
		r.step("preparing with the revoked certificate refused", func() (string, error) {
			_, err := v.prepare(ctx, own)
			return refusedFor(err, "certificate-revoked")
		}) && r.step("what was signed before holds by its timestamp, beside a list with the revocation", func() (string, error) {
		for { // a published list may be a moment old
			crl, err := r.fetch(ctx, "/pki/issuing.crl")
			if err != nil {
				return "", err
			}
			note, err := r.judgeOwn(earlier.content, earlier.signatory, own.Certificate.Chain[0], crl)
			if !errors.Is(err, errNotListed) || ctx.Err() != nil {
				return note, err
			}
			time.Sleep(200 * time.Millisecond)
		}
	}) && r.step("refusals on record", func() (string, error) { return r.onRecord(ctx, v) }) &&
		r.step("one tap makes a new key", func() (string, error) {
			err := v.b.NewKey(ctx, own)
			return "serial " + own.Certificate.Serial, err
		})
}

// onRecord looks for the refusals in the audit trail of the visitor's session.
func (r *run) onRecord(ctx context.Context, v *visitor) (string, error) {
	var look struct{ Session string }
	if _, _, err := v.b.Post(ctx, "visit", nil, &look); err != nil {
		return "", err
	}
	events, err := r.program.Store.Events(ctx, look.Session)
	if err != nil {
		return "", err
	}
	var found []string
	for _, e := range events {
		if e.Kind == workflow.EventRefused || e.Kind == workflow.EventPasskeyRefused {
			found = append(found, e.Detail["reason"])
		}
	}
	for _, want := range []string{"ceremony-gone", "digest-mismatch", "bad-value", "certificate-revoked"} {
		if !slices.Contains(found, want) {
			return "", fmt.Errorf("%s is not on record: %q", want, found)
		}
	}
	return strings.Join(found, ", "), nil
}

// secondDevice enrols another device of the same person, by the word of the first.
func (r *run) secondDevice(ctx context.Context, v *visitor, first *Device) bool {
	second := &visitor{scenario: v.scenario, before: len(r.boxes.In(""))}
	d := NewDevice(r.pages)
	var e Enrolling
	return r.step("second device proves the mailbox", func() (_ string, err error) {
		second.b, err = Follow(v.link)
		return "", err
	}) && r.openByCode(ctx, second) && r.step("second device asks to be enrolled", func() (note string, err error) {
		e, err = second.b.BeginEnrolment(ctx)
		return "number " + e.Number, err
	}) && r.step("first device approves by its passkey", func() (string, error) {
		answer, err := v.b.Ask(ctx, first, "approve", auth.ApprovalOf(e.Enrolment))
		if err != nil {
			return "", err
		}
		_, _, err = v.b.Post(ctx, "enrol/approve", map[string]any{"enrolment": e.Enrolment, "passkey": answer}, nil)
		return "", err
	}) && r.step("second device enrolled", func() (string, error) {
		err := second.b.Register(ctx, d, e)
		return "serial " + d.Certificate.Serial, err
	})
}

// refusedFor turns the right refusal into a note, and everything else into an error.
func refusedFor(err error, want string) (string, error) {
	var refused *Refused
	switch {
	case err == nil:
		return "", errors.New("it was taken")
	case !errors.As(err, &refused) || refused.Reason != want:
		return "", fmt.Errorf("want %s, got %w", want, err)
	}
	return refused.Reason + ": " + refused.Text, nil
}

// fetch gets what milterd publishes.
func (r *run) fetch(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.pages+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}
