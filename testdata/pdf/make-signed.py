#!/usr/bin/env python3
"""Signs files of this folder as another program would: make-signed.py KEY CERT."""
import sys
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers, fields

signer = signers.SimpleSigner.load(sys.argv[1], sys.argv[2])

def sign(src, dst, field, new=None, **meta):
    with open(src, "rb") as f:
        w = IncrementalPdfFileWriter(f)
        if new:
            fields.append_signature_field(w, new)
        data = signers.sign_pdf(w, signers.PdfSignatureMetadata(field_name=field, md_algorithm="sha256", **meta), signer=signer)
    open(dst, "wb").write(data.getvalue())

sign("table.pdf", "signed.pdf", "Other")
sign("form.pdf", "signed-form.pdf", "Witness")
sign("packed.pdf", "signed-packed.pdf", "Other")
P = fields.MDPPerm
sign("table.pdf", "certified-1.pdf", "Other", certify=True, docmdp_permissions=P.NO_CHANGES)
sign("table.pdf", "certified-2.pdf", "Other", certify=True, docmdp_permissions=P.FILL_FORMS)
sign("form.pdf", "locked.pdf", "Lock", new=fields.SigFieldSpec("Lock",
     field_mdp_spec=fields.FieldMDPSpec(fields.FieldMDPAction.ALL)))
sign("table.pdf", "certified-3.pdf", "Other", certify=True, docmdp_permissions=P.ANNOTATE)
A = fields.FieldMDPAction
sign("form.pdf", "locked-some.pdf", "Lock", new=fields.SigFieldSpec("Lock", field_mdp_spec=fields.FieldMDPSpec(A.INCLUDE, ["name", "Witness"])))
sign("form.pdf", "locked-rest.pdf", "Lock", new=fields.SigFieldSpec("Lock", field_mdp_spec=fields.FieldMDPSpec(A.EXCLUDE, ["name", "Witness"])))
sign("table.pdf", "locked-2.pdf", "Lock", new=fields.SigFieldSpec("Lock",
     field_mdp_spec=fields.FieldMDPSpec(A.INCLUDE, ["x"]), doc_mdp_update_value=P.FILL_FORMS))
sign("table.pdf", "locked-1.pdf", "Lock", new=fields.SigFieldSpec("Lock",
     field_mdp_spec=fields.FieldMDPSpec(A.INCLUDE, ["x"]), doc_mdp_update_value=P.NO_CHANGES))
