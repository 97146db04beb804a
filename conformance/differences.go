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
		judge: "pyHanko", files: "damaged: *: a byte of a CRL in the DSS", what: "* does not hold there, but here: *", perhaps: true,
		says: "refuses the file",
		why:  "It ends at the first stream that cannot be unpacked. The file fails with us, too: the document timestamp covers that stream.",
	},
	{
		judge: "milterd", files: "inputs: two.pdf, sealed*", what: "the signature * of others was TOTAL-PASSED, is INDETERMINATE TRY_LATER",
		says: "INDETERMINATE for the signatures of others",
		why:  "Our document timestamp is the first proof of when theirs existed, and the list that was given from outside is older than that; nothing is wrong with their bytes.",
	},
	{
		judge: "DSS", files: "damaged: *: byte *", what: "* does not hold there, but here: not found", perhaps: true,
		says: "does not find that one signature",
		why:  "The byte lies in certificates beside the signature, which it does not sign; DSS cannot read such a message. We find the certificate in the DSS. The file fails with us, too: what came later covers the byte.",
	},
	{
		judge: "pyHanko", files: "damaged: *: byte *", what: "* does not hold there, but here: INDETERMINATE NO_SIGNING_CERTIFICATE_FOUND: *", perhaps: true,
		says: "does not pass that one signature",
		why:  "As above: the byte lies in the copy of the signer's certificate, of which the DSS holds another.",
	},
	{
		judge: "DSS", files: "damaged: *: byte *", what: "* is PAdES-LTV there, PAdES-BASELINE-LT here", perhaps: true,
		says: "names another form for one signature",
		why:  "The byte lies in what nothing in that signature signs. The file fails with us: what came later covers the byte.",
	},
	{
		judge: "mutool", files: "key types: RSA-* PSS*", what: "0 of 1 signatures are valid",
		says: "does not verify RSA-PSS",
		why:  "MuPDF verifies RSA with PKCS #1 v1.5 only. The product itself signs with PSS nowhere by default; package cms can.",
	},
	{
		judge: "DSS", files: "inputs: two.pdf as it came", what: "* does not hold there, but here: INDETERMINATE CERTIFICATE_CHAIN_GENERAL_FAILURE: *",
		says: "INDETERMINATE for the signatures of others",
		why:  "DSS takes no revocation list whose issuer's certificate lacks the key usage cRLSign, and that foreign root has no key usage at all; RFC 5280, 6.3.3 (f), asks for it only if there is one.",
	},
	{
		judge: "DSS", files: "damaged: *: byte *", what: "* holds there, not here: TOTAL-FAILED FORMAT_FAILURE: Contents holds more than a signature", perhaps: true,
		says: "passes that one signature",
		why:  "The byte lies after the message, in the zeros of Contents: as above. The file fails with us: what came later covers the byte.",
	},
	{
		judge: "DSS", files: "damaged: *: byte *", what: "* holds there, not here: reading the *", perhaps: true,
		says: "passes signatures that do not cover the byte",
		why:  "We are stricter: the byte is no hexadecimal digit any more, and in such a file we judge nothing.",
	},
	{
		judge: "pyHanko", files: "damaged: *: byte *", what: "* does not hold there, but here: error: *", perhaps: true,
		says: "refuses the file",
		why:  "It ends at the first stream that cannot be unpacked; the file fails with us, too, at what covers the byte.",
	},
}
