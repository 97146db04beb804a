// Package mailparse turns the raw bytes of a mail into a Request: who writes to
// whom, which level the subject names, which documents are attached, to which
// thread it belongs. It knows neither network nor database, and decides
// nothing about people.
//
// It reads what strangers wrote, so everything has a limit (Limits), ambiguity
// is refused instead of guessed at, and the same bytes always give the same
// Request. Refusals are *workflow.Refusal.
//
// Reference: RFC 5322 (message), RFC 2045–2047 and 2231 (MIME), RFC 2183
// (Content-Disposition), RFC 1847 (multipart/signed), RFC 3834 (Auto-Submitted).
package mailparse
