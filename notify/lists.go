package notify

import (
	"crypto/sha256"
	"slices"
	"time"

	"milterd/workflow"
)

// documents lists what was mailed, each with the digest of its original.
func (w *writer) documents(heading string) {
	mailed := w.s.Mailed()
	if heading == "" {
		heading = w.count("documents", len(mailed), nil)
	}
	var items []item
	for _, i := range mailed {
		d := &w.s.Documents[i]
		detail := w.size(d.Original().Size)
		if d.Pages > 0 {
			detail = w.count("pages", d.Pages, nil) + ", " + detail
		}
		if d.Signed {
			detail += ", " + w.say("already-signed", nil)
		}
		if from := w.s.SourceOf(d); from != nil {
			detail += ", " + w.say("converted", data{"Name": fileName(from.Name), "Maker": clean(d.Maker)})
		}
		items = append(items, item{fileName(d.Name), detail, w.say("digest.mailed", nil), d.Original().SHA256.String()})
	}
	w.add(block{Is: "items", Text: heading, Items: items})
}

// sealed is when the organisation's seal and timestamp came on the last document.
func (w *writer) sealed() (at time.Time, ok bool) {
	for _, i := range w.s.Mailed() {
		if h := w.s.Documents[i].Head(); h.Kind == workflow.Archive {
			at = h.Created
		} else {
			return time.Time{}, false
		}
	}
	return at, !at.IsZero()
}

// attachments lists the files of this mail.
func (w *writer) attachments() []item {
	var items []item
	for _, a := range w.n.Attachments {
		d := workflow.Digest(sha256.Sum256(a.Content))
		items = append(items, w.file(a.Name, int64(len(a.Content)), d, w.kind(d)))
	}
	return items
}

// heads lists the newest revisions of all documents.
func (w *writer) heads() []item {
	var items []item
	for i := range w.s.Documents {
		d := &w.s.Documents[i]
		items = append(items, w.file(d.ResultName(), d.Head().Size, d.Head().SHA256, d.Kind))
	}
	return items
}

func (w *writer) file(name string, size int64, digest workflow.Digest, kind workflow.DocumentKind) item {
	detail := w.size(size)
	switch kind {
	case workflow.Report:
		detail += ", " + w.say("result.report", nil)
	case workflow.Unconverted:
		detail += ", " + w.say("result.unconverted", nil)
	}
	return item{fileName(name), detail, w.say("digest.file", nil), digest.String()}
}

// kind is that of the document with this digest.
func (w *writer) kind(digest workflow.Digest) workflow.DocumentKind {
	for i := range w.s.Documents {
		if d := &w.s.Documents[i]; d.Kind != workflow.Mailed && d.Head().SHA256 == digest {
			return d.Kind
		}
	}
	return workflow.Mailed
}

// standing says of each signatory what they did.
func (w *writer) standing(heading string) {
	var items []item
	for _, i := range w.s.Signatories() {
		p := &w.s.People[i]
		it := person(p)
		switch {
		case p.State == workflow.Refused:
			it.Detail += ": " + w.say("state.declined", data{"Date": w.date(p.Decided)})
		case p.State == workflow.Signed || p.State == workflow.Signing:
			it.Detail += ": " + w.say("state.signed", data{"Date": w.date(p.Decided)}) + w.accepted(p.Act)
		default:
			it.Detail += ": " + w.say("state.waiting", nil)
		}
		items = append(items, it)
	}
	w.add(block{Is: "items", Text: heading, Items: items})
}

// accepted says who certified the key of a signature, where it was not this organisation's
// authority, and by whose word the certificate was taken.
func (w *writer) accepted(a *workflow.Act) string {
	if a == nil || a.Accepted == nil || len(a.Accepted.Chain) == 0 {
		return ""
	}
	plain := func(s string) string { return shorten(unlinked(clean(s)), 2*maxName) }
	return ", " + w.say("state.accepted", data{"Issuer": plain(a.Accepted.Issuer), "Vouched": plain(a.Accepted.Vouched)})
}

// onlyPDFs says whether all documents are ones that phones can sign.
func (w *writer) onlyPDFs() bool {
	return !slices.ContainsFunc(w.s.Mailed(), func(i int) bool { return !w.s.Documents[i].Grows() })
}

func person(p *workflow.Participant) item { return item{Name: name(p), Detail: clean(p.Mail)} }

// people names the signatories for whom choose is true.
func (w *writer) people(choose func(i int) bool) []string {
	var out []string
	for _, i := range w.s.Signatories() {
		if choose(i) {
			out = append(out, name(&w.s.People[i]))
		}
	}
	return out
}
