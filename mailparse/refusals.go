package mailparse

import (
	"fmt"

	"milterd/workflow"
)

// refuse makes a permanent refusal. The codes are those of RFC 3463 and its
// registry: 5.3.4 too big for the system, 5.5.4 invalid arguments, 5.6.x media,
// 5.7.x security.
func refuse(enhanced, reason, text string, cause error) error {
	return &workflow.Refusal{Code: 554, Enhanced: enhanced, Reason: reason, Text: text + ".", Err: cause}
}

func errTooLarge(limit int64) error {
	return &workflow.Refusal{Code: 552, Enhanced: "5.3.4", Reason: "too-large",
		Text: fmt.Sprintf("This mail is larger than the %s that the signature desk takes; send fewer or smaller documents.", size(limit))}
}

func errHeaderTooLarge(limit int64) error {
	return &workflow.Refusal{Code: 552, Enhanced: "5.3.4", Reason: "header-too-large",
		Text: fmt.Sprintf("A header of this mail is larger than %s; please write a new mail.", size(limit))}
}

func errParts(limit int) error {
	return refuse("5.6.3", "too-many-parts",
		fmt.Sprintf("This mail has more than %d parts; send fewer documents in one mail", limit), nil)
}

func errDepth(limit int) error {
	return refuse("5.6.3", "too-deep",
		fmt.Sprintf("The parts of this mail are nested more than %d deep; attach the documents to a new mail", limit), nil)
}

func errMIME(cause error) error {
	return refuse("5.6.0", "broken-mime",
		"This mail is damaged: its parts cannot be told apart; attach the documents to a new mail", cause)
}

func errHeader(why string) error {
	return refuse("5.6.0", "broken-header",
		fmt.Sprintf("The header of this mail is damaged: %s; please write a new mail", why), nil)
}

func errEncodedMultipart() error {
	return refuse("5.6.0", "encoded-multipart",
		"This mail is ambiguous: a part that holds other parts has a transfer encoding of its own; attach the documents to a new mail", nil)
}

func errDuplicate(field string) error {
	return refuse("5.6.0", "duplicate-header",
		fmt.Sprintf("This mail is ambiguous: %s stands in it twice where it may stand once; please write a new mail", field), nil)
}

func errEncoding(what string, cause error) error {
	return refuse("5.6.6", "bad-encoding",
		fmt.Sprintf("%s is damaged: its transfer encoding cannot be read; attach it to a new mail", what), cause)
}

func errManyLines(what string, limit int) error {
	return refuse("5.6.3", "too-many-lines",
		fmt.Sprintf("%s comes in quoted-printable with more than %d lines; attach it to a new mail as base64", what, limit), nil)
}

func errUnknownEncoding(what, encoding string) error {
	return refuse("5.6.1", "unknown-encoding",
		fmt.Sprintf("%s has the transfer encoding %q, which the signature desk does not read; send it as base64", what, encoding), nil)
}

func errEncryptedMail() error {
	return refuse("5.7.5", "encrypted-mail",
		"This mail is encrypted, so the signature desk cannot see its documents; send it without encryption", nil)
}

func errOpaqueMail() error {
	return refuse("5.7.5", "opaque-mail",
		"This mail is wrapped in an opaque S/MIME signature; send it unsigned, or with a clear-text signature", nil)
}

func errFrom(text string, cause error) error {
	return refuse("5.7.1", "bad-from", text, cause)
}

func errTwoLevels(a, b workflow.Level) error {
	return refuse("5.5.4", "two-levels",
		fmt.Sprintf("The subject names two levels, %s and %s; name one", a, b), nil)
}

func errTwoForms(a, b workflow.Form) error {
	return refuse("5.5.4", "two-forms",
		fmt.Sprintf("The subject names two forms of signature, %s and %s; name one", a, b), nil)
}

func size(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%d KB", n>>10)
}
