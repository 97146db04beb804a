package notify

import (
	"milterd/workflow"
)

// maxListed bounds the signatures of one file that a mail lists; the report lists all.
const maxListed = 20

// verified answers a mail to verify@: a verdict for each file, and who signed.
func (w *writer) verified() {
	v := w.n.Verification
	w.add(block{Is: "title", Text: w.count("verified.title", len(v.Files), nil)})
	w.hello()
	for _, f := range v.Files {
		verdict := "verified.file." + string(f.Verdict)
		if f.Verdict == workflow.VerdictChanged && len(f.Signs) > 0 {
			verdict = "verified.file.changed.beside"
		}
		w.add(block{Is: "items", Text: w.say(verdict, nil), Items: []item{
			{fileName(f.Name), w.size(f.Size), w.say("digest.file", nil), f.SHA256.String()}}})
		var facts []item
		for _, name := range f.Signs[:min(len(f.Signs), maxListed)] {
			facts = append(facts, item{Name: w.say("verified.signs", nil), Detail: fileName(name)})
		}
		for _, s := range f.Signatures[:min(len(f.Signatures), maxListed)] {
			facts = append(facts, w.signature(s))
		}
		if more := len(f.Signatures) - maxListed; more > 0 {
			facts = append(facts, item{Name: w.count("verified.more", more, nil), Detail: w.say("verified.more.where", nil)})
		}
		if len(facts) > 0 {
			w.add(block{Is: "facts", Items: facts})
		}
	}
	w.para(w.count("verified.report", len(v.Files), nil))
	w.para(w.say("verified.how", data{"Org": w.org}))
}

func (w *writer) signature(s workflow.VerifiedSignature) item {
	kind := "verified.signature"
	if s.Stamp {
		kind = "verified.timestamp"
	}
	by := shorten(unlinked(clean(s.By)), maxFile)
	if by == "" {
		by = w.say("verified.nobody", nil)
	}
	if s.At.IsZero() || s.Verdict != workflow.VerdictValid {
		return item{Name: w.say(kind, nil), Detail: by + ": " + w.say("verified.is."+string(s.Verdict), nil)}
	}
	return item{Name: w.say(kind, nil), Detail: by + ": " + w.say("verified.is.valid.at", data{"Date": w.date(s.At)})}
}
