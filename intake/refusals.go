package intake

import (
	"errors"
	"fmt"
	"strings"

	"milterd/directory"
	"milterd/mailparse"
	"milterd/milter"
	"milterd/workflow"
)

// refuse is a permanent refusal, codes after RFC 3463: 5.1.x addresses, 5.2.x
// mailboxes, 5.5.x commands, 5.6.x media, 5.7.x security.
func refuse(code int, enhanced, reason, format string, args ...any) error {
	return &workflow.Refusal{Code: code, Enhanced: enhanced, Reason: reason, Text: fmt.Sprintf(format, args...) + "."}
}

func later(enhanced, reason, text string, cause error) error {
	return &workflow.Refusal{Code: 451, Enhanced: enhanced, Reason: reason, Text: text + ".", Err: cause}
}

// Who asks.

const unproven = "unproven-sender"

// errUnproven tells why the mail's own bytes prove nothing, where they are looked at.
func (in *Intake) errUnproven(why string) error {
	if why != "" {
		why = ": " + why
	}
	return refuse(550, "5.7.1", unproven,
		"The signature desk cannot tell who you are%s; log in to your mail server to send to %s", why, in.Config.Domain)
}

func errNullSender() error {
	return refuse(550, "5.7.1", "null-sender", "A mail without an envelope sender cannot ask for signatures")
}

func errLogin(login string) error {
	return refuse(550, "5.7.1", "unknown-login",
		"The login %s is not in the signature desk's directory; ask your administrator to enter you", login)
}

func errEnvelope(e milter.Envelope) error {
	return refuse(550, "5.7.1", "envelope-not-yours",
		"You are logged in as %s, but %s is not your address; send from an address of your own", e.Login, e.From)
}

func errFromNotYours(from string, p workflow.Person) error {
	return refuse(550, "5.7.1", "from-not-yours",
		"The From says %s, which is not an address of %s; ask for signatures in your own name", from, p.Mail)
}

func errUnknownSender(from string) error {
	return refuse(550, "5.7.1", "unknown-sender",
		"%s is not in the signature desk's directory; send from your address in this organisation", from)
}

func errBlocked(p workflow.Person) error {
	return refuse(550, "5.7.1", "blocked-sender", "%s may not ask for signatures here; ask your administrator", p.Mail)
}

func errMayNotRequest(p workflow.Person, l workflow.Level, groups []string) error {
	return refuse(550, "5.7.1", "may-not-request",
		"Only members of %s may ask for %s signatures, and %s is none of them; ask one of them to send it", or(groups), l, p.Mail)
}

func errMayNotSign(p workflow.Person, l workflow.Level, groups []string) error {
	return refuse(550, "5.7.1", "may-not-sign",
		"Only members of %s may sign at the level %s, and %s is none of them; ask somebody else to sign", or(groups), l, p.Mail)
}

func or(names []string) string { return strings.Join(names, " or ") }

// Who is asked.

func (in *Intake) errSignatory(a address, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, directory.ErrNotFound):
		return refuse(550, "5.1.1", "unknown-signatory",
			"Nobody has the mail address %s@ here; put what stands before the @ of your colleague's address before @%s, or write to %s@%s to sign yourself",
			a.base, in.Config.Domain, self, in.Config.Domain)
	case errors.Is(err, directory.ErrAmbiguous):
		return refuse(550, "5.1.4", "ambiguous-signatory",
			"Several people have an address that begins with %s@; use another address of your colleague", a.base)
	case errors.Is(err, directory.ErrTooMany):
		return refuse(550, "5.5.3", "too-many-signatories", "%s@ is a group with more members than one mail can ask; ask them one by one", a.base)
	case errors.Is(err, errNoMembers):
		return refuse(550, "5.1.1", "empty-group", "Nobody is in the group %s@; ask its members one by one", a.base)
	}
	return errDirectory(err)
}

func (in *Intake) errTag(a address) error {
	return refuse(550, "5.1.3", "unknown-level",
		"+%s is no level; write to %s@%s, or add +standard, +advanced or +qualified", a.tag, a.base, in.Config.Domain)
}

func (in *Intake) errAnswer() error {
	return refuse(550, "5.2.1", "answer-address",
		"Nobody reads answers to the signature desk's mails; write to the colleague who asked for the signature, or to %s@%s for help",
		postmaster, in.Config.Domain)
}

func (in *Intake) errVerify() error {
	return refuse(550, "5.2.1", "verify-address",
		"Documents are not verified by mail here; ask %s@%s to verify the file", postmaster, in.Config.Domain)
}

func (in *Intake) errVerifyAlone() error {
	return refuse(550, "5.5.3", "verify-alone", "A mail to %s@%s cannot ask for signatures, too; send two mails", verify, in.Config.Domain)
}

func errNothingToVerify() error {
	return refuse(554, "5.6.2", "no-attachment", "There is no file in this mail; attach the signed document that is to be verified")
}

func errTooManySignatories(n int) error {
	return refuse(550, "5.5.3", "too-many-signatories", "One mail can ask at most %d people to sign; send it in groups", n)
}

// At which level.

func errLevel(l workflow.Level) error {
	return refuse(554, "5.7.4", "level-unavailable",
		"%s signatures are not offered here, and a lower level is never used instead; ask for Advanced or Standard if that is enough", l)
}

func errTwoLevels(a, b workflow.Level) error {
	return refuse(554, "5.5.4", "two-levels", "Subject and address name two levels, %s and %s; name one", a, b)
}

// What is to be signed.

func errNoDocument() error {
	return refuse(554, "5.6.2", "no-attachment", "There is no document in this mail; attach the PDF that is to be signed")
}

func errNoText() error {
	return refuse(554, "5.6.2", "no-text",
		"There is neither a file in this mail nor one plain text that could be signed; attach what is to be signed, or write it as plain text of at most 64 KB")
}

func errWinmail() error {
	return refuse(554, "5.6.1", "winmail",
		"Outlook packed the attachments into winmail.dat; set the mail's format to HTML or plain text and send it again")
}

func errOnlyPAdES(f workflow.Form) error {
	return refuse(554, "5.5.4", "form-unavailable", "This signature desk signs PDFs in the PDF itself only; leave [%s] out of the subject", f)
}

func errNotOfForm(d mailparse.Document, f workflow.Form, kind string) error {
	return refuse(554, "5.6.1", "not-of-form",
		"%s is no %s, which %s signs; leave [%s] out of the subject, or send a file of that kind", d.Name, kind, f, f)
}

func errFormAtLevel(d mailparse.Document, f workflow.Form, l workflow.Level) error {
	return refuse(554, "5.6.1", "form-at-level",
		"%s would be signed as %s, which a device of one's own cannot check at the level %s; leave [%s] out of the subject, and it is signed in a container", d.Name, f, l, f)
}

func errEmpty() error {
	return refuse(554, "5.6.2", "empty-file", "This file is empty; attach it again")
}

func errContainer(cause error) error {
	return &workflow.Refusal{Code: 554, Enhanced: "5.6.3", Reason: "no-container", Err: cause,
		Text: "This file cannot be put into a container with its signatures: it is too large, or its name is not one that every system takes."}
}

func errNoPDF(d mailparse.Document, some bool) error {
	switch {
	case some:
		return refuse(554, "5.6.1", "not-only-pdf",
			"%s is no PDF and would stay unsigned; send it as a PDF, or leave it out", d.Name)
	}
	return refuse(554, "5.6.1", "no-pdf", "%s is no PDF; the signature desk takes PDF documents only, so save it as PDF", d.Name)
}

func errTooManyDocuments(n int) error {
	return refuse(554, "5.5.3", "too-many-documents", "One mail can bring at most %d documents; send several mails", n)
}

func errTooManyPages(pages, n int) error {
	return refuse(554, "5.3.4", "too-many-pages", "The document has %d pages, more than the %d that are taken; split it", pages, n)
}

// What machines wrote.

func errThread() error {
	return refuse(554, "5.5.0", "answer-in-thread",
		"This mail answers one of the signature desk's own mails, which opens no new request; write a new mail to ask for signatures")
}

func errOwn() error {
	return refuse(554, "5.5.0", "own-mail",
		"This is one of the signature desk's own mails, which opens no new request; write a new mail to ask for signatures")
}

func errAutomatic(word string) error {
	return refuse(554, "5.7.0", "auto-submitted",
		"This mail calls itself automatic (Auto-Submitted: %s), and the signature desk answers none of those", word)
}

func errList() error {
	return refuse(554, "5.7.2", "mailing-list", "Mail of mailing lists cannot ask for signatures; write to the signature desk yourself")
}

func errHops(n int) error {
	return refuse(554, "5.4.6", "too-many-hops", "This mail has gone round in circles over %d servers; write a new one", n)
}

// What passes again.

func errDNS(cause error) error {
	return later("4.4.3", "dns-away", "The DNS does not tell the key of the mail's DKIM signature right now; please try again in a few minutes", cause)
}

func errDirectory(cause error) error {
	return later("4.4.3", "directory-away", "The directory does not answer right now; please try again in a few minutes", cause)
}

func errAway(cause error) error {
	return later("4.3.0", "store-away", "The signature desk cannot store this mail right now; please try again in a few minutes", cause)
}

func errInspection(cause error) error {
	return later("4.3.0", "inspection-away", "The documents cannot be inspected right now; please try again in a few minutes", cause)
}
