package main

// declared are the deviations that we mean, with their reason. One that is not met
// any more counts as unexplained, so that this list cannot outlive its causes.
var declared = []difference{
	{
		judge: "milterd", files: "key types: *, B-T without revocation data", what: "* is PAdES-BASELINE-B, want PAdES-BASELINE-T",
		says: "B-B, not B-T",
		why:  "The others name the form of the signature. Our level is what is reached: without revocation data for the timestamp's authority no time is proven.",
	},
	{
		judge: "pyHanko", files: "inputs: hybrid.pdf*", what: "* is INDETERMINATE GENERIC, want TOTAL-PASSED",
		says: "INDETERMINATE",
		why:  "pyHanko validates no file with hybrid references, whatever is signed in it, because two readers may see two tables. DSS and we read it.",
	},
	{
		judge: "DSS", files: "damaged: *", what: "* holds there, not here: after the last signature: bytes after the end of the last revision",
		says: "passes it",
		why:  "We are stricter: bytes after the last revision are nobody's, and another reader may find a file in them.",
	},
	{
		judge: "pyHanko", files: "damaged: *", what: "* holds there, not here: after the last signature: bytes after the end of the last revision",
		says: "passes it",
		why:  "As above.",
	},
	{
		judge: "DSS", files: "damaged: *", what: "* holds there, not here: reading the file: *",
		says: "passes signatures in it",
		why:  "We are stricter: PDFBox repairs a file whose end or cross-references are broken; we judge nothing that two readers may read in two ways.",
	},
	{
		judge: "DSS", files: "damaged: *", what: "* holds there, not here: after the last signature: page 1: *",
		says: "passes it with a warning",
		why:  "We are stricter: its default policy only warns of changes after the last signature, where we say INDETERMINATE / SIG_CONSTRAINTS_FAILURE.",
	},
	// A single byte. What the judges make of it hangs on values that are new in each
	// run, so that not all of these are met each time.
	{
		judge: "DSS", files: "damaged: *: a byte: *est: *certificate*", what: "* does not hold there, but here: *", perhaps: true,
		says: "does not pass that signature",
		why: "The byte lies in a copy of a certificate, which nothing in the message signs. DSS takes the copy for the certificate, or cannot read a message with it; we take the one that the DSS holds. " +
			"In an older message the file fails with us, too: what came later covers the byte.",
	},
	{
		judge: "pyHanko", files: "damaged: *: a byte: *est: *certificate*", what: "* does not hold there, but here: *", perhaps: true,
		says: "does not pass that signature",
		why:  "As above.",
	},
	{
		judge: "DSS", files: "damaged: *: a byte: *est: *certificate*", what: "* is PAdES-* there, PAdES-BASELINE-* here", perhaps: true,
		says: "names another form",
		why:  "As above: it looks for revocation data about the copy.",
	},
	{
		judge: "openssl", files: "damaged: *: a byte: newest: an issuer's certificate*", what: "notices, we do not", perhaps: true,
		says: "notices",
		why:  "As above: it is given the token alone, without the DSS, so the copy is the only issuer that it has.",
	},
	{
		judge: "DSS", files: "damaged: *: a byte: *est: the signer's certificate*", what: "* holds there, not here: INDETERMINATE NO_SIGNING_CERTIFICATE_FOUND: *", perhaps: true,
		says: "passes that signature",
		why:  "We are stricter: the message brings a certificate under its signer's issuer and serial number that is not the one that its signed attribute names.",
	},
	{
		judge: "DSS", files: "damaged: *: a byte: oldest: its timestamp, *", what: "* holds there, not here: *", perhaps: true,
		says: "passes the signature, fails its timestamp",
		why:  "We are stricter: EN 319 102-1, 5.5.4, lets a signature stand at the present time when none of its timestamps does. A timestamp that is not the signature's is a sign that somebody was at work.",
	},
	{
		judge: "DSS", files: "damaged: *: a byte: *est: *", what: "* holds there, not here: TOTAL-FAILED FORMAT_FAILURE: *",
		says: "passes that signature",
		why:  "We are stricter: nothing in the message signs this byte (a content type, a version, a set of algorithms, a zero after it), but it is not what RFC 5652 and ISO 32000-2, 12.8.1, have there.",
	},
	{
		judge: "pyHanko", files: "damaged: *: a byte: *est: *", what: "* holds there, not here: TOTAL-FAILED FORMAT_FAILURE: *",
		says: "passes that signature",
		why:  "As above.",
	},
	{
		judge: "DSS", files: "damaged: *: a*", what: "* holds there, not here: reading the signatures: *", perhaps: true,
		says: "passes signatures that do not cover the byte",
		why:  "We are stricter: a signature's dictionary cannot be read any more (what encloses Contents, or where it stands), and in such a file we judge nothing.",
	},
	{
		judge: "DSS", files: "damaged: *: a byte: the newest catalog", what: "* holds there, not here: INDETERMINATE SIG_CONSTRAINTS_FAILURE: changed afterwards: *", perhaps: true,
		says: "passes a signature that does not cover the byte",
		why:  "We are stricter: the catalog that came later is none any more. The file fails with DSS, too, at what covers the byte.",
	},
	{
		judge: "DSS", files: "damaged: *: a byte: *est: *", what: "* does not hold there, but here: *Exception: *", perhaps: true,
		says: "ends with an exception",
		why:  "Its ASN.1 library knows no such value, and DSS then judges no signature in the file. It fails with us, too, at the message with the byte.",
	},
	{
		judge: "pyHanko", files: "damaged: *: a byte: newest: *", what: "* does not hold there, but here: *Error: *", perhaps: true,
		says: "ends with an exception",
		why:  "As above: the judge asks about all signatures of a file in turn.",
	},
	{
		judge: "pyHanko", files: "damaged: *: a byte* in the DSS", what: "* does not hold there, but here: error: *", perhaps: true,
		says: "refuses the file",
		why:  "It ends at the first stream that cannot be unpacked. The file fails with us, too, at what covers that stream.",
	},
	{
		judge: "pyHanko", files: "inputs: ghostscript-scan.pdf*", what: "PdfStrictReadError: Illegal generation 65536*",
		says: "refuses the file",
		why:  "The document came with a cross-reference to object 0 with generation 65536, one more than there can be; MuPDF's writer and Ghostscript's for pictures do that. Nobody reads object 0.",
	},
	{
		judge: "pyHanko", files: "inputs: mutool-clean.pdf*", what: "PdfStrictReadError: Illegal generation 65536*",
		says: "refuses the file",
		why:  "As above.",
	},
	{
		judge: "pyHanko", files: "inputs: ghostscript-2.0.pdf*", what: "* is INDETERMINATE SIG_CONSTRAINTS_FAILURE, want TOTAL-PASSED",
		says: "INDETERMINATE",
		why:  "The metadata that Ghostscript wrote is no well-formed XML, so pyHanko cannot tell whether it changed. It did not.",
	},
	{
		judge: "pdftoppm", files: "inputs: rotated.pdf*", what: "pages look different: ?7]",
		says: "page 7 looks different",
		why: "That page restores a graphics state that nobody saved. Poppler then draws nothing of it; MuPDF draws it, before and after alike. Our line at the top needs the states balanced, so poppler " +
			"draws the page afterwards as MuPDF always did.",
	},
	{
		judge: "DSS", files: "damaged: *", what: "* holds there, not here: * timestamp token: *",
		says: "passes the signature, fails its timestamp",
		why:  "We are stricter: EN 319 102-1, 5.5.4, lets a signature stand at the present time when none of its timestamps does. A timestamp that is not the signature's is a sign that somebody was at work.",
	},
	{
		judge: "DSS", files: "damaged: *: a byte between the newest CMS and the end of Contents", what: "* holds there, not here: TOTAL-FAILED FORMAT_FAILURE: *",
		says: "passes it",
		why:  "We are stricter: nothing signs these bytes, so after the message only zeros may stand (ISO 32000-2, 12.8.1).",
	},
	{
		judge: "pyHanko", files: "damaged: *: a byte between the newest CMS and the end of Contents", what: "* holds there, not here: TOTAL-FAILED FORMAT_FAILURE: *",
		says: "passes it",
		why:  "As above.",
	},
	{
		judge: "DSS", files: "damaged: *", what: "* is PAdES-BASELINE-LTA there, PAdES-BASELINE-LT here",
		says: "B-LTA, not B-LT",
		why:  "It names the form of the signature. Our level counts a document timestamp only if it holds; here it is the one that was damaged, and all three fail it.",
	},
	{
		judge: "pyHanko", files: "damaged: *", what: "* does not hold there, but here: INDETERMINATE NO_POE: *",
		says: "does not pass the signatures before a damaged document timestamp",
		why: "The file fails with us, too, at that timestamp. The signatures before it are whole and stand as B-LT at the present time (EN 319 102-1, 5.6.3, with no evidence left); " +
			"pyHanko's process for archived signatures ends instead of going on without it.",
	},
	{
		judge: "DSS", files: "damaged: *: a revision without the DSS", what: "* holds there, not here: after the last signature: revocation data was removed",
		says: "passes it",
		why:  "We are stricter: what a later revision takes out of the store counts all the same with us, too, but updates only add to a store; pyHanko fails it as well.",
	},
	{
		judge: "milterd", files: "inputs: two.pdf, sealed*", what: "the signature * of others was TOTAL-PASSED, is INDETERMINATE TRY_LATER",
		says: "INDETERMINATE for the signatures of others",
		why:  "Our document timestamp is the first proof of when theirs existed, and the list that was given from outside is older than that; nothing is wrong with their bytes.",
	},
	{
		judge: "mutool", files: "key types: RSA-* PSS*", what: "0 of 1 signatures are valid",
		says: "does not verify RSA-PSS",
		why:  "MuPDF verifies RSA with PKCS #1 v1.5 only. The product itself signs with PSS nowhere by default; package cms can.",
	},
	{
		judge: "mutool", files: "product: Qualified, 3 signed*", what: "* signatures are valid",
		says: "does not verify the one with RSA-PSS",
		why:  "As above; the second of the three has a key that signs so, as keys at providers may.",
	},
	{
		judge: "pyHanko", files: "product: Qualified, *, sealed, B-LTA", what: "OCSPNoMatchesError: Could not determine issuer certificate for the trust anchor in path*",
		says: "ends with an exception",
		why: "The anchor of a qualified certificate is the authority that a trusted list names, which need not be a root. pyHanko's process for archived signatures asks for revocation data about the anchor itself, for which there is " +
			"no need (RFC 5280, 6.1.1 (d)), and finds no issuer. The same file before its archive timestamp passes (B-LT).",
	},
	{
		judge: "pyHanko", files: "product: Advanced, *on a phone, *, sealed, B-LTA", what: "OCSPNoMatchesError: Could not determine issuer certificate for the trust anchor in path*",
		says: "ends with an exception",
		why:  "As above; the authority that certifies phones, and that an organisation has chosen, need not be a root either.",
	},
	{
		judge: "DSS", files: "inputs: two.pdf as it came", what: "* does not hold there, but here: INDETERMINATE CERTIFICATE_CHAIN_GENERAL_FAILURE: *",
		says: "INDETERMINATE for the signatures of others",
		why:  "DSS takes no revocation list whose issuer's certificate lacks the key usage cRLSign, and that foreign root has no key usage at all; RFC 5280, 6.3.3 (f), asks for it only if there is one.",
	},
}
