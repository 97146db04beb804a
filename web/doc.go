// Package web is the door for people: the page behind the link of an
// invitation, and the small JSON interface that it talks to.
//
// The page at /s is the same for everyone. The link's token stands in the URL's
// fragment, which browsers keep to themselves; the page's script POSTs it. So a
// mail scanner that opens a link changes nothing and learns nothing, and no
// proxy logs a token (design.md, decision 5):
//
//	POST /api/visit     who asks for what, and whether this device has proven the mailbox
//	POST /api/code      mails a six-digit code
//	POST /api/open      takes the code, remembers the device by cookie
//	POST /api/document  the newest revision of a document, as bytes
//	POST /api/ready     whether a signature could be completed now
//	POST /api/sign      the signatory's act at Standard, bound to the digests that the page showed
//	POST /api/decline   ends the session
//
// Passkeys prove who is there, too, and a signatory's own key signs at Advanced
// (docs/page.md has every call with its shape):
//
//	POST /api/passkey/…  a ceremony begins; opens the documents
//	POST /api/enrol/…    a device becomes one of its person's, by a second proof
//	                     (also by an identity card), or a card's certificate is registered
//	POST /api/totp/…     the same with an authenticator app, where browsers have no passkeys
//	POST /api/devices…   the person's devices; takes one away
//	POST /api/key/…      certifies a device's key
//	POST /api/prepare    writes what the key is to sign; prepared gives it, keep and
//	                     abandon hold it and let it go, finish takes the signatures
//
// Qualified certificates sign through the same preparations, at a provider or by
// an identity card:
//
//	POST /api/qualified/…  keys at a provider, prepare, what the person types,
//	                       the way to the provider's page and back (/r), a card's values
//
// So do phones, at level Qualified or Advanced, by a server that gets the documents:
//
//	POST /api/phone/…      prepare, order, check, touch, cancel
//
// The page at /c is for people in whose name an unproven mail came; its link
// went to their mailbox (workflow.Held):
//
//	POST /api/held      what that mail asks for
//	POST /api/confirm   opens its session
//	POST /api/deny      drops it
//
// What people do here is decided elsewhere: transitions by workflow.Desk, proofs
// by package auth. This package owns the pages, the protection of requests
// (method, origin, size, rate, time) and the words.
//
// The page's own code is the TypeScript of folder ui; its bundle in folder
// static is committed, so that building milterd needs no Node:
//
//	go generate milterd/web
//
// Limits: no administration. References:
// W3C CSP Level 3, Trusted Types, RFC 6265bis (cookie prefixes), RFC 9110.
package web

//go:generate go tool esbuild ui/main.ts --bundle --minify --charset=utf8 --format=esm --target=es2022,safari16 --outfile=static/app.js --log-level=warning
//go:generate go tool esbuild ui/page.css --bundle --minify --charset=utf8 --target=safari16,chrome100,firefox100 --outfile=static/app.css --log-level=warning
