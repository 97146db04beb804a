package auth_test

import (
	"strings"
	"testing"
	"time"

	"milterd/auth"
	"milterd/auth/authtest"
	"milterd/workflow"
)

// The whole way of a device: begun, seen by its approver, approved, registered,
// told, on record, and remembered.
func TestEnrolment(t *testing.T) {
	d := newDesk(t)
	n := d.begin(t, d.john)
	if len(n.Number) != 4 || n.ApprovedBy != "" || n.Agent != agent || strings.Join(n.Ways, " ") != "password administrator" {
		t.Errorf("begun: %+v", n)
	}
	pending, err := d.Pending(t.Context(), "")
	if err != nil || len(pending) != 1 || pending[0].ID != n.ID || pending[0].Number != n.Number || pending[0].Handle != "" {
		t.Fatalf("pending: %+v, %v", pending, err)
	}
	want(t, "approve", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	n, err = d.State(t.Context(), d.john, n.Handle)
	if err != nil || n.ApprovedBy != "administrator" {
		t.Errorf("approved: %+v, %v", n, err)
	}
	c, cookie, r := d.register(t, d.john, n.Handle, d.device)
	want(t, "register", r, "")
	if c.Mail != "john.doe@corp.test" || c.Kind != workflow.Passkey || c.Name != "John's phone" || c.ApprovedBy != "administrator" || !c.Enrolled.Equal(d.clock) {
		t.Errorf("credential: %+v", c)
	}
	box := &auth.Mailbox{Store: d.Store, Keys: d.Keys, Now: d.Now}
	if !knows(t, box, d.john, cookie) {
		t.Error("the device is not remembered")
	}
	e := d.events(t, workflow.EventEnrolling, workflow.EventApproved, workflow.EventEnrolled)
	if len(e) != 3 || e[1].Actor != "administrator" || e[2].Detail["credential"] != c.ID || e[2].Detail["approved by"] != "administrator" ||
		e[2].Detail["device key sha-256"] != key("device key").String() || e[2].Actor != c.Mail {
		t.Errorf("on record: %+v", e)
	}
	log, err := d.Store.Log(t.Context())
	if err != nil || len(log) != 1 || log[0].Kind != workflow.EventEnrolled {
		t.Errorf("authority's log: %+v, %v", log, err)
	}
	if !d.mailed(t, c.ID) {
		t.Error("nobody is told")
	}
	_, err = d.State(t.Context(), d.john, n.Handle)
	want(t, "afterwards", reason(err), "enrolment-gone")
}

// mailed looks for the job of the notice.
func (d *desk) mailed(t *testing.T, credential string) bool {
	t.Helper()
	jobs, err := d.Store.Jobs(t.Context(), d.john.Session.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if j.Job.Mail == workflow.MailEnrolled && j.Job.Credential == credential && j.Job.Person == 0 {
			return true
		}
	}
	return false
}

// A mailbox alone never becomes a device.
func TestEnrolmentNeedsSecondProof(t *testing.T) {
	d := newDesk(t)
	n := d.begin(t, d.john)
	_, _, err := d.Options(t.Context(), d.john, n.Handle, key("device key"))
	want(t, "options", reason(err), "not-approved")
	_, _, _, err = d.totp.Begin(t.Context(), d.john, n.Handle)
	want(t, "totp", reason(err), "not-approved")

	// Not with the ceremony of an enrolment that was approved, either.
	other := d.begin(t, d.john)
	want(t, "approve the other", reason(d.Approve(t.Context(), other.ID, "administrator")), "")
	options, ceremony, err := d.Options(t.Context(), d.john, other.Handle, key("device key"))
	want(t, "options of the other", reason(err), "")
	answer, err := d.device.Create(options)
	if err != nil {
		t.Fatal(err)
	}
	_, _, _, err = d.Finish(t.Context(), d.john, n.Handle, ceremony, answer, "", key("device key"), client, agent)
	want(t, "finish", reason(err), "not-approved")
	if all, err := d.Store.Credentials(t.Context(), ""); err != nil || len(all) != 0 {
		t.Errorf("enrolled: %+v, %v", all, err)
	}
}

// Who sees what waits for approval, as every device of the person does, cannot
// take the approval for another device.
func TestEnrolmentBelongsToItsDevice(t *testing.T) {
	d := newDesk(t)
	n := d.begin(t, d.john)
	mine := d.begin(t, d.jane)
	want(t, "approve", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	_, tail, _ := strings.Cut(mine.Handle, ".")
	other, _ := d.session(t, "bbbbbbbbbbbbbbbb")
	for name, c := range map[string]struct {
		visit  workflow.Visit
		handle string
	}{
		"by its id":                     {d.john, n.ID},
		"by its id with an empty tail":  {d.john, n.ID + "."},
		"by its id with another tail":   {d.john, n.ID + "." + tail},
		"by another person":             {d.jane, n.Handle},
		"with the link of another mail": {other, n.Handle},
		"by nothing":                    {d.john, ""},
	} {
		_, err := d.State(t.Context(), c.visit, c.handle)
		want(t, name, reason(err), "enrolment-gone")
		_, _, err = d.Options(t.Context(), c.visit, c.handle, key("device key"))
		want(t, name+", options", reason(err), "enrolment-gone")
	}
}

// An enrolled device approves, on its own page, with the link of another mail.
func TestApprovalByDevice(t *testing.T) {
	d := newDesk(t)
	first := d.enrol(t, d.john, d.device)
	other, _ := d.session(t, "bbbbbbbbbbbbbbbb")
	n := d.begin(t, d.john)
	if strings.Join(n.Ways, " ") != "password device administrator" {
		t.Errorf("ways: %v", n.Ways)
	}
	ceremony, answer := d.ask(t, other, d.device, auth.LabelApprove, auth.ApprovalOf(n.ID))
	want(t, "approve", reason(d.ApproveWithPasskey(t.Context(), other, n.ID, ceremony, answer, client)), "")
	second := authtest.New(origin)
	c, _, r := d.register(t, d.john, n.Handle, second)
	want(t, "register", r, "")
	if c.ApprovedBy != "device John's phone" || c.ID == first.ID {
		t.Errorf("credential: %+v", c)
	}
}

func TestApprovalRefused(t *testing.T) {
	d := newDesk(t)
	c := d.enrol(t, d.john, d.device)
	janes := authtest.New(origin)
	d.enrol(t, d.jane, janes)
	n := d.begin(t, d.john)
	approve := func(v workflow.Visit, id, ceremony string, answer []byte) string {
		return reason(d.ApproveWithPasskey(t.Context(), v, id, ceremony, answer, client))
	}

	ceremony, answer := d.ask(t, d.jane, janes, auth.LabelApprove, auth.ApprovalOf(n.ID))
	want(t, "by another person", approve(d.jane, n.ID, ceremony, answer), "enrolment-gone")
	ceremony, answer = d.ask(t, d.john, d.device, auth.LabelApprove, auth.ApprovalOf(d.begin(t, d.john).ID))
	want(t, "of another enrolment", approve(d.john, n.ID, ceremony, answer), "passkey-refused")
	ceremony, answer = d.ask(t, d.john, d.device, auth.LabelOpen)
	want(t, "for another purpose", approve(d.john, n.ID, ceremony, answer), "ceremony-gone")
	ceremony, answer = d.ask(t, d.john, d.device, auth.LabelApprove, auth.ApprovalOf("none"))
	want(t, "of nothing", approve(d.john, "none", ceremony, answer), "enrolment-gone")

	ceremony, answer = d.ask(t, d.john, d.device, auth.LabelApprove, auth.ApprovalOf(n.ID))
	d.revoke(t, c.ID)
	want(t, "by a revoked passkey", approve(d.john, n.ID, ceremony, answer), "passkey-revoked")
	_, _, r := d.register(t, d.john, n.Handle, authtest.New(origin))
	want(t, "register", r, "not-approved")
}

// Whoever stole a device, approved another with it and was found out, gets nothing.
func TestApprovalByDeviceThatIsRevokedSince(t *testing.T) {
	d := newDesk(t)
	c := d.enrol(t, d.john, d.device)
	n := d.begin(t, d.john)
	ceremony, answer := d.ask(t, d.john, d.device, auth.LabelApprove, auth.ApprovalOf(n.ID))
	want(t, "approve", reason(d.ApproveWithPasskey(t.Context(), d.john, n.ID, ceremony, answer, client)), "")
	options, ceremony, err := d.Options(t.Context(), d.john, n.Handle, key("device key"))
	want(t, "options", reason(err), "")
	made, err := authtest.New(origin).Create(options)
	if err != nil {
		t.Fatal(err)
	}
	d.revoke(t, c.ID)
	_, _, _, err = d.Finish(t.Context(), d.john, n.Handle, ceremony, made, "", key("device key"), client, agent)
	want(t, "finish", reason(err), "passkey-revoked")
	_, _, err = d.Options(t.Context(), d.john, n.Handle, key("device key"))
	want(t, "options again", reason(err), "passkey-revoked")
}

func TestApprovalTooLate(t *testing.T) {
	d := newDesk(t)
	d.enrol(t, d.john, d.device)
	n := d.begin(t, d.john)
	d.clock = d.clock.Add(auth.ProofLifetime)
	n, err := d.State(t.Context(), d.john, n.Handle)
	if err != nil || strings.Join(n.Ways, " ") != "administrator" {
		t.Errorf("after half an hour: %+v, %v", n, err)
	}
	_, err = d.Password(t.Context(), d.john, n.Handle, "right", client)
	want(t, "password", reason(err), "way-not-accepted")
	ceremony, answer := d.ask(t, d.john, d.device, auth.LabelApprove, auth.ApprovalOf(n.ID))
	want(t, "device", reason(d.ApproveWithPasskey(t.Context(), d.john, n.ID, ceremony, answer, client)), "enrolment-gone")

	d.clock = n.Expires.Add(-time.Second)
	late := d.begin(t, d.john)
	want(t, "administrator", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	d.clock = d.clock.Add(time.Hour) // the approved one has its three days anew
	_, _, r := d.register(t, d.john, n.Handle, authtest.New(origin))
	want(t, "register", r, "")

	d.clock = late.Expires
	want(t, "administrator, after three days", reason(d.Approve(t.Context(), late.ID, "administrator")), "enrolment-gone")
	if pending, err := d.Pending(t.Context(), ""); err != nil || len(pending) != 0 {
		t.Errorf("pending: %v, %v", pending, err)
	}
}

// Ways that the configuration leaves out are none.
func TestApprovalWays(t *testing.T) {
	d := newDesk(t)
	d.enrol(t, d.john, d.device)
	d.Ways = nil
	n := d.begin(t, d.john)
	if len(n.Ways) != 0 {
		t.Errorf("ways: %v", n.Ways)
	}
	want(t, "administrator", reason(d.Approve(t.Context(), n.ID, "administrator")), "way-not-accepted")
	_, err := d.Password(t.Context(), d.john, n.Handle, "right", client)
	want(t, "password", reason(err), "way-not-accepted")
	ceremony, answer := d.ask(t, d.john, d.device, auth.LabelApprove, auth.ApprovalOf(n.ID))
	want(t, "device", reason(d.ApproveWithPasskey(t.Context(), d.john, n.ID, ceremony, answer, client)), "way-not-accepted")
}

func TestEnrolmentsAreRationed(t *testing.T) {
	d := newDesk(t)
	for range auth.EnrolmentsPerDay {
		d.begin(t, d.john)
	}
	_, err := d.Enrolments.Begin(t.Context(), d.john, client, agent)
	want(t, "one more", reason(err), "too-many-enrolments")
	d.begin(t, d.jane)
	d.clock = d.clock.Add(24*time.Hour + time.Second)
	d.begin(t, d.john)
}

// Devices that were enrolled count as those that were begun: a person who has
// every proof enrols ten a day, and no thousands.
func TestDevicesAreRationed(t *testing.T) {
	d := newDesk(t)
	for range auth.EnrolmentsPerDay {
		d.enrol(t, d.john, authtest.New(origin))
	}
	_, err := d.Enrolments.Begin(t.Context(), d.john, client, agent)
	want(t, "one more", reason(err), "too-many-enrolments")
	d.enrol(t, d.jane, authtest.New(origin))
	d.clock = d.clock.Add(24*time.Hour + time.Second)
	d.enrol(t, d.john, authtest.New(origin))
}

func TestRegistrationRefuses(t *testing.T) {
	for name, m := range map[string]authtest.Mischief{
		"wrong origin":        {FromOrigin: "https://evil.test"},
		"other relying party": {RelyingParty: "corp.test"},
		"nobody verified":     {Unverified: true},
		"other challenge":     {Challenge: make([]byte, 32)},
		"an assertion":        {Type: "webauthn.get"},
		"in a frame":          {CrossOrigin: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			n := d.begin(t, d.john)
			want(t, "approve", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
			d.device.Mischief = m
			_, _, r := d.register(t, d.john, n.Handle, d.device)
			want(t, "register", r, "passkey-refused")
			d.recorded(t, "passkey-refused")
			d.device = authtest.New(origin)
			_, _, r = d.register(t, d.john, n.Handle, d.device)
			want(t, "then well", r, "")
		})
	}
}

// The passkey's challenge is made of the device key that is certified with it.
func TestRegistrationWithAnotherKey(t *testing.T) {
	d := newDesk(t)
	n := d.begin(t, d.john)
	want(t, "approve", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	options, ceremony, err := d.Options(t.Context(), d.john, n.Handle, key("mine"))
	want(t, "options", reason(err), "")
	answer, err := d.device.Create(options)
	if err != nil {
		t.Fatal(err)
	}
	_, _, _, err = d.Finish(t.Context(), d.john, n.Handle, ceremony, answer, "", key("evil"), client, agent)
	want(t, "finish", reason(err), "passkey-refused")
}

// A registration counts once, and a passkey has one owner.
func TestRegistrationReplayed(t *testing.T) {
	d := newDesk(t)
	n := d.begin(t, d.john)
	want(t, "approve", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	options, ceremony, err := d.Options(t.Context(), d.john, n.Handle, key("k"))
	want(t, "options", reason(err), "")
	answer, err := d.device.Create(options)
	if err != nil {
		t.Fatal(err)
	}
	finish := func() string {
		_, _, _, err := d.Finish(t.Context(), d.john, n.Handle, ceremony, answer, "", key("k"), client, agent)
		return reason(err)
	}
	want(t, "finish", finish(), "")
	want(t, "again", finish(), "enrolment-gone")
	d.recorded(t, "enrolment-gone")
	n = d.begin(t, d.john)
	want(t, "approve another", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	want(t, "for another enrolment", finish(), "ceremony-gone")

	// Jane registers an authenticator that claims the id of John's passkey.
	n = d.begin(t, d.jane)
	want(t, "approve Jane's", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
	d.device.Forget()
	d.device.Again = true
	_, _, r := d.register(t, d.jane, n.Handle, d.device)
	want(t, "John's passkey at Jane's link", r, "passkey-known")
}

func TestDeviceNames(t *testing.T) {
	d := newDesk(t)
	for name, cleaned := range map[string]string{
		"":                         agent,
		"  my \n phone\t":          "my phone",
		"\u202egnp.exe":            "gnp.exe",
		strings.Repeat("ä", 200):   strings.Repeat("ä", auth.MaxDeviceName),
		"\x00\x07":                 agent,
		"<b>phone</b> & \"quote\"": "<b>phone</b> & \"quote\"",
	} {
		n := d.begin(t, d.john)
		want(t, "approve", reason(d.Approve(t.Context(), n.ID, "administrator")), "")
		device := authtest.New(origin)
		options, ceremony, err := d.Options(t.Context(), d.john, n.Handle, key("k"))
		want(t, "options", reason(err), "")
		answer, err := device.Create(options)
		if err != nil {
			t.Fatal(err)
		}
		c, _, _, err := d.Finish(t.Context(), d.john, n.Handle, ceremony, answer, name, key("k"), client, agent)
		want(t, "finish", reason(err), "")
		want(t, "name", c.Name, cleaned)
	}
}
