package notify

import (
	"cmp"
	"strings"

	"milterd/workflow"
)

// enrolled tells a person that a device can sign for them from now on. Where it
// was not theirs, this mail is how they learn of it, so it says what to do.
func (w *writer) enrolled() {
	c := w.n.Credential
	if c.Kind == workflow.QualifiedCertificate {
		w.registered(c)
		return
	}
	w.add(block{Is: "title", Text: w.say("enrolled.title", nil)})
	w.hello()
	w.para(w.say("enrolled.intro", data{"Org": w.org}))
	w.add(block{Is: "facts", Items: []item{
		{Name: w.say("enrolled.device", nil), Detail: device(c.Name)},
		{Name: w.say("enrolled.at", nil), Detail: w.date(c.Enrolled)},
		{Name: w.say("enrolled.kind", nil), Detail: w.say("enrolled.kind."+string(c.Kind), nil)},
		{Name: w.say("enrolled.by", nil), Detail: w.approvedBy(c.ApprovedBy)},
	}})
	w.para(w.say("enrolled.good", nil))
	w.para(w.say("enrolled.bad", data{"Org": w.org}))
	w.button("enrolled.button")
	w.documents(w.say("enrolled.documents", nil))
	w.askedBy()
}

// registered tells a person that a certificate counts as theirs.
func (w *writer) registered(c *workflow.Credential) {
	w.add(block{Is: "title", Text: w.say("registered.title", nil)})
	w.hello()
	w.para(w.say("registered.intro", data{"Org": w.org}))
	facts := []item{{Name: w.say("registered.name", nil), Detail: device(c.Name)}}
	if cert := c.Certificate(); cert != nil {
		facts = []item{
			{Name: w.say("registered.name", nil), Detail: device(cmp.Or(cert.Subject.CommonName, "?"))},
			{Name: w.say("registered.issuer", nil), Detail: device(cmp.Or(cert.Issuer.CommonName, cert.Issuer.String()))},
			{Name: w.say("registered.until", nil), Detail: w.date(cert.NotAfter)},
		}
	}
	w.add(block{Is: "facts", Items: append(facts, item{Name: w.say("registered.at", nil), Detail: w.date(c.Enrolled)},
		item{Name: w.say("enrolled.by", nil), Detail: w.approvedBy(c.ApprovedBy)})})
	w.para(w.say("registered.good", nil))
	w.para(w.say("registered.bad", data{"Org": w.org}))
	w.button("enrolled.button")
	w.documents(w.say("registered.documents", nil))
	w.askedBy()
}

// approvedBy says what the second proof was, in the reader's language.
func (w *writer) approvedBy(by string) string {
	switch name, ok := strings.CutPrefix(by, "device "); {
	case ok:
		return w.say("enrolled.by.device", data{"Name": device(name)})
	case by == "directory password":
		return w.say("enrolled.by.password", nil)
	case by == "identity card":
		return w.say("enrolled.by.card", nil)
	case by == "first signature":
		return w.say("enrolled.by.signature", nil)
	}
	return w.say("enrolled.by.administrator", nil)
}

// device is what somebody calls a device: whoever enrolled it chose the words,
// and that may not have been the reader.
func device(name string) string { return shorten(unlinked(clean(name)), maxName) }

// again asks a signatory whose signature could not be completed.
func (w *writer) again() {
	docs := len(w.s.Mailed())
	w.add(block{Is: "title", Text: w.say("again.title", nil)})
	w.hello()
	w.para(w.say("again."+w.n.Again, data{"Org": w.org}))
	w.documents(w.count("again.documents", docs, nil))
	w.askedBy(w.level(), w.deadline())
	w.para(w.say("again.next", nil))
	w.button("invitation.button")
	w.para(w.say("invitation.private", nil))
}
