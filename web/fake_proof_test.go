package web

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"milterd/auth"
	"milterd/workflow"
)

// fakePasskeys checks only that an answer is for the challenge of its digests,
// and of an enrolled passkey; auth's tests do the rest.
type fakePasskeys struct{ *fake }

func (f fakePasskeys) begin(v workflow.Visit, label string, digests []workflow.Digest, extra map[string]any) (json.RawMessage, string, error) {
	if err := f.once("begin " + label); err != nil {
		return nil, "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := fmt.Sprintf("ceremony%d", len(f.log))
	c := fakeCeremony{label, v.Who().Mail, digests, make([]byte, 32)}
	rand.Read(c.nonce)
	f.ceremonies[id] = c
	challenge := auth.Challenge(label, v.Session.ID, c.mail, digests, c.nonce)
	o := map[string]any{"challenge": base64.RawURLEncoding.EncodeToString(challenge[:]), "timeout": 60000, "userVerification": "required"}
	for k, x := range extra {
		o[k] = x
	}
	b, err := json.Marshal(map[string]any{"publicKey": o})
	return b, id, err
}

func (f fakePasskeys) Begin(_ context.Context, v workflow.Visit, label string, digests []workflow.Digest) (json.RawMessage, string, error) {
	all := []map[string]string{}
	for _, c := range f.credentials {
		if c.Mail == v.Who().Mail && c.Revoked.IsZero() && c.Kind == workflow.Passkey {
			all = append(all, map[string]string{"type": "public-key", "id": c.ID})
		}
	}
	if len(all) == 0 {
		return nil, "", refusal("no-passkey", "None.", nil)
	}
	return f.begin(v, label, digests, map[string]any{"rpId": "localhost", "allowCredentials": all})
}

// use ends a ceremony whose answer is right.
func (f fakePasskeys) use(v workflow.Visit, label, id string, response []byte, digests []workflow.Digest) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.ceremonies[id]
	delete(f.ceremonies, id)
	if !ok || c.label != label || c.mail != v.Who().Mail {
		return "", refusal("ceremony-gone", "Gone.", nil)
	}
	var r struct {
		ID       string
		Response struct{ ClientDataJSON string }
	}
	if err := json.Unmarshal(response, &r); err != nil {
		return "", refusal("passkey-refused", "Unreadable.", err)
	}
	data, _ := base64.RawURLEncoding.DecodeString(r.Response.ClientDataJSON)
	want := auth.Challenge(label, v.Session.ID, c.mail, digests, c.nonce)
	if !bytes.Contains(data, []byte(`"challenge":"`+base64.RawURLEncoding.EncodeToString(want[:])+`"`)) {
		return "", refusal("digest-mismatch", "For something else.", nil)
	}
	if label == auth.LabelEnrol {
		return r.ID, nil
	}
	for _, k := range f.credentials {
		if k.ID == r.ID && k.Mail == c.mail && k.Revoked.IsZero() {
			k.Used = time.Now()
			return k.ID, nil
		}
	}
	return "", refusal("passkey-unknown", "Not yours.", nil)
}

func (f *fake) newCookie(v workflow.Visit) (string, time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	value := strings.Repeat("p", 41) + fmt.Sprintf("%02d", len(f.cookies))
	f.cookies[value] = v.Who().Mail
	return value, time.Now().Add(90 * 24 * time.Hour)
}

func (f fakePasskeys) Open(_ context.Context, v workflow.Visit, ceremony string, response []byte, _, _ string) (string, time.Time, error) {
	if _, err := f.use(v, "open", ceremony, response, nil); err != nil {
		return "", time.Time{}, err
	}
	cookie, until := f.newCookie(v)
	return cookie, until, nil
}

func (f fakePasskeys) ForSigning(_ context.Context, v workflow.Visit, ceremony string, response []byte, _ string) (workflow.Consume, error) {
	return func(_ workflow.Tx, digests []workflow.Digest) (workflow.Proof, error) {
		_, err := f.use(v, "sign", ceremony, response, digests)
		return workflow.Proof{Method: "passkey", Challenge: ceremony}, err
	}, nil
}

func (f fakePasskeys) ForKey(_ context.Context, v workflow.Visit, ceremony string, response []byte, key workflow.Digest, _ string) (*workflow.Credential, error) {
	id, err := f.use(v, "key", ceremony, response, []workflow.Digest{key})
	return &workflow.Credential{ID: id}, err
}

type fakeEnrolments struct{ *fake }

func (f fakeEnrolments) Begin(_ context.Context, v workflow.Visit, _, agent string) (*auth.Enrolment, error) {
	if err := f.once("enrol"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := fmt.Sprintf("enrolment%d", len(f.enrolments))
	e := &auth.Enrolment{ID: id, Handle: id + ".secret", Mail: v.Who().Mail, Number: "4207", Agent: agent, Created: time.Now(), Expires: time.Now().Add(time.Hour),
		Ways: []string{auth.WayPassword, auth.WayDevice, auth.WayCard, auth.WayAdministrator}}
	f.enrolments[e.Handle] = e
	return e, nil
}

func (f fakeEnrolments) State(_ context.Context, v workflow.Visit, handle string) (*auth.Enrolment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.enrolments[handle]; e != nil && e.Mail == v.Who().Mail {
		k := *e
		return &k, nil
	}
	return nil, refusal("enrolment-gone", "Gone.", nil)
}

func (f fakeEnrolments) Password(ctx context.Context, v workflow.Visit, handle, password, _ string) (*auth.Enrolment, error) {
	if err := f.once("password"); err != nil {
		return nil, err
	}
	if _, err := f.State(ctx, v, handle); err != nil {
		return nil, err
	}
	if password != fakePassword {
		return nil, refusal("wrong-password", "Wrong. Tries left in this hour: 2.", nil)
	}
	f.approve(f.enrolments[handle].ID, "directory password")
	return f.State(ctx, v, handle)
}

func (f *fake) approve(id, by string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.enrolments {
		if e.ID == id {
			e.ApprovedBy = by
			return true
		}
	}
	return false
}

func (f fakeEnrolments) ApproveWithPasskey(_ context.Context, v workflow.Visit, id, ceremony string, response []byte, _ string) error {
	if err := f.once("approve"); err != nil {
		return err
	}
	device, err := fakePasskeys(f).use(v, "approve", ceremony, response, []workflow.Digest{auth.ApprovalOf(id)})
	if err != nil {
		return err
	}
	if !f.approve(id, "device "+device[:6]) {
		return refusal("enrolment-gone", "Gone.", nil)
	}
	return nil
}

// BeginCard and Card take the answer of a card that says the nonce again.
func (f fakeEnrolments) BeginCard(ctx context.Context, v workflow.Visit, handle string) (string, string, error) {
	if _, err := f.State(ctx, v, handle); err != nil {
		return "", "", err
	}
	return base64.StdEncoding.EncodeToString(make([]byte, 32)), "card1", f.once("card begin")
}

func (f fakeEnrolments) Card(ctx context.Context, v workflow.Visit, handle, ceremony string, token []byte, _ string) (*auth.Enrolment, error) {
	if err := f.once("card"); err != nil {
		return nil, err
	}
	if _, err := f.State(ctx, v, handle); err != nil {
		return nil, err
	}
	var in map[string]string
	if err := json.Unmarshal(token, &in); err != nil || len(in) != 5 || ceremony != "card1" {
		return nil, refusal("card-token", "Unreadable.", err)
	}
	if reason, bad := strings.CutPrefix(in["signature"], "bad "); bad {
		return nil, refusal(reason, "Refused.", nil)
	}
	f.approve(f.enrolments[handle].ID, "identity card")
	return f.State(ctx, v, handle)
}

func (f fakeEnrolments) Certificate(ctx context.Context, v workflow.Visit, handle string, chain [][]byte, _ string) error {
	e, err := f.approved(ctx, v, handle)
	if err != nil {
		return err
	}
	if err := f.once("register"); err != nil {
		return err
	}
	c, err := workflow.Registration(v.Who().Mail, chain[0], e.ApprovedBy, time.Now())
	if err != nil {
		return refusal("malformed-certificate", "Unreadable.", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.credentials = append(f.credentials, c)
	delete(f.enrolments, handle)
	return nil
}

func (f fakeEnrolments) Pending(_ context.Context, mail string) (out []*auth.Enrolment, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.enrolments {
		if e.Mail == mail && e.ApprovedBy == "" {
			k := *e
			k.Handle = ""
			out = append(out, &k)
		}
	}
	return out, nil
}

func (f fakeEnrolments) approved(ctx context.Context, v workflow.Visit, handle string) (*auth.Enrolment, error) {
	e, err := f.State(ctx, v, handle)
	if err == nil && e.ApprovedBy == "" {
		err = refusal("not-approved", "Not yet.", nil)
	}
	return e, err
}

func (f fakeEnrolments) Options(ctx context.Context, v workflow.Visit, handle string, key workflow.Digest) (json.RawMessage, string, error) {
	if _, err := f.approved(ctx, v, handle); err != nil {
		return nil, "", err
	}
	return fakePasskeys(f).begin(v, auth.LabelEnrol, []workflow.Digest{key}, map[string]any{"rp": map[string]string{"id": "localhost", "name": "Example GmbH"},
		"user":                   map[string]string{"id": "dXNlcg", "name": v.Who().Mail, "displayName": v.Who().Name},
		"pubKeyCredParams":       []map[string]any{{"type": "public-key", "alg": -7}, {"type": "public-key", "alg": -257}},
		"authenticatorSelection": map[string]string{"residentKey": "preferred", "userVerification": "required"}})
}

func (f fakeEnrolments) Finish(ctx context.Context, v workflow.Visit, handle, ceremony string, response []byte, name string, key workflow.Digest, _, agent string) (*workflow.Credential, string, time.Time, error) {
	e, err := f.approved(ctx, v, handle)
	if err != nil {
		return nil, "", time.Time{}, err
	}
	id, err := fakePasskeys(f).use(v, auth.LabelEnrol, ceremony, response, []workflow.Digest{key})
	if err != nil {
		return nil, "", time.Time{}, err
	}
	return f.enrol(v, e, id, workflow.Passkey, name)
}

func (f *fake) enrol(v workflow.Visit, e *auth.Enrolment, id string, kind workflow.CredentialKind, name string) (*workflow.Credential, string, time.Time, error) {
	if err := f.once("enrolled"); err != nil {
		return nil, "", time.Time{}, err
	}
	f.mu.Lock()
	c := &workflow.Credential{ID: id, Mail: v.Who().Mail, Kind: kind, Name: name, Enrolled: time.Now(), ApprovedBy: e.ApprovedBy}
	f.credentials = append(f.credentials, c)
	delete(f.enrolments, e.Handle)
	f.mu.Unlock()
	cookie, until := f.newCookie(v)
	return c, cookie, until, nil
}

type fakeTOTP struct{ *fake }

func (f fakeTOTP) Begin(ctx context.Context, v workflow.Visit, handle string) (string, []byte, string, error) {
	if _, err := fakeEnrolments(f).approved(ctx, v, handle); err != nil {
		return "", nil, "", err
	}
	png, _ := base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
	return "otpauth://totp/x?secret=ABC", png, "totp1", nil
}

func (f fakeTOTP) Finish(ctx context.Context, v workflow.Visit, handle, ceremony, code, name, _, _ string) (*workflow.Credential, string, time.Time, error) {
	e, err := fakeEnrolments(f).approved(ctx, v, handle)
	if err != nil {
		return nil, "", time.Time{}, err
	}
	if code != fakeTOTPCode || ceremony != "totp1" {
		return nil, "", time.Time{}, refusal("wrong-totp", "Wrong.", nil)
	}
	return f.enrol(v, e, "totp-credential", workflow.TOTP, name)
}

func (f fakeTOTP) ForSigning(_ context.Context, _ workflow.Visit, code, _ string) (workflow.Consume, error) {
	if code != fakeTOTPCode {
		return nil, refusal("wrong-totp", "Wrong.", nil)
	}
	return func(workflow.Tx, []workflow.Digest) (workflow.Proof, error) {
		return workflow.Proof{Method: "one-time password"}, nil
	}, nil
}

func (f fakeTOTP) ForKey(_ context.Context, _ workflow.Visit, code, _ string) (*workflow.Credential, error) {
	if code != fakeTOTPCode {
		return nil, refusal("wrong-totp", "Wrong.", nil)
	}
	return &workflow.Credential{ID: "totp-credential"}, nil
}
