package notify

import (
	"strconv"
	"strings"

	"milterd/workflow"
)

// returned tells the sender that a mail to somebody else did not arrive, what
// the mail server said, and what can be done.
func (w *writer) returned() {
	r, who := w.n.Returned, &w.s.People[w.n.By]
	docs := len(w.s.Mailed())
	kind := "returned." + string(r.Mail)
	if r.Unclear {
		w.add(block{Is: "title", Text: w.say("returned.title.unclear", data{"Name": name(who)})})
	} else {
		w.add(block{Is: "title", Text: w.say("returned.title", data{"Name": name(who)})})
	}
	w.hello()
	w.para(w.say(kind, data{"Person": full(who)}))
	switch said := unlinked(strings.TrimSpace(r.Diagnostic)); {
	case r.Unclear:
		w.para(w.say("returned.unclear", nil))
	case said != "":
		w.quote(w.say("returned.said", nil), said)
	case r.Status != "":
		w.quote(w.say("returned.said", nil), r.Status)
	}
	if r.Recipient != "" {
		w.add(block{Is: "facts", Items: []item{{Name: w.say("returned.for", nil), Detail: shorten(unlinked(clean(r.Recipient)), maxName)}}})
	}
	if r.Mail == workflow.MailResult {
		w.para(w.count("returned.result.next", docs, data{"Name": name(who)}))
		if !w.n.Until.IsZero() {
			w.para(w.say("result.until", data{"Date": w.date(w.n.Until)}))
		}
		w.button("result.button")
	} else {
		w.para(w.count("returned.open", docs, data{"Date": w.date(w.s.Deadline)}))
		w.para(w.say("returned.next", data{"Org": w.org, "Session": w.s.ID}))
	}
	w.standing(w.say("standing", nil))
	w.documents("")
}

// unlinked takes addresses of pages out of a server's words: mail programs
// would make links of them, and anybody who got our mail can write a report.
func unlinked(s string) string {
	words := strings.Fields(s)
	for i, x := range words {
		if l := strings.ToLower(x); strings.Contains(l, "://") || strings.Contains(l, "www.") || strings.Contains(l, "mailto:") {
			words[i] = "[…]"
		}
	}
	return strings.Join(words, " ")
}

// confirm asks somebody in whose name a mail came whether it was theirs. It
// quotes nothing of that mail: anybody could have written it to be read here.
func (w *writer) confirm() {
	h := w.n.Held
	w.add(block{Is: "title", Text: w.say("confirm.title", nil)})
	w.hello()
	w.para(w.say("confirm.intro", data{"Org": w.org, "Date": w.date(h.Received)}))
	w.add(block{Is: "facts", Items: []item{
		{Name: w.say("confirm.documents", nil), Detail: strconv.Itoa(len(h.Documents))},
		{Name: w.say("confirm.asks", nil), Detail: strconv.Itoa(len(h.Asks))},
		{Name: w.say("confirm.until", nil), Detail: w.date(w.n.Until)},
	}})
	w.para(w.say("confirm.yours", nil))
	w.button("confirm.button")
	w.para(w.say("confirm.not-yours", nil))
	w.para(w.say("confirm.private", nil))
}
