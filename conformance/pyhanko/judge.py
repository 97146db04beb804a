"""Lets pyHanko validate PDF files after ETSI EN 319 102-1, one after the other in
one process; nothing is fetched.

A line on standard input is one file; three parts with a tab between them: the
file, the trusted roots, CRLs from outside the file. The latter two are paths with
a colon between them, and may be empty. A line on standard output is what pyHanko
says of that file, as JSON.

The policy: revocation data for every certificate below the root, and pyHanko's
own rules for what may come after a signature. Its AdES module does not look at
later changes when it gives its indication; a change that its rules do not allow
is therefore given as SIG_CONSTRAINTS_FAILURE, with "pyhanko" before the words.
"""
import asyncio
import dataclasses
import json
import logging
import sys
import warnings

from asn1crypto import crl, pem, x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.ades.report import AdESStatus
from pyhanko.sign.diff_analysis import DEFAULT_DIFF_POLICY
from pyhanko.sign.validation import ades, generic_cms
from pyhanko.sign.validation.status import PdfSignatureStatus
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.policy_decl import (
    CertificateFetchingRule, LocalKnowledge, PdfSignatureValidationSpec, RevinfoOnlineFetchingRule,
    RevocationInfoGatheringSpec, SignatureValidationSpec)
from pyhanko_certvalidator.authority import CertTrustAnchor
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.policy_decl import CertRevTrustPolicy, RevocationCheckingPolicy, RevocationCheckingRule
from pyhanko_certvalidator.registry import SimpleTrustManager
from pyhanko_certvalidator.revinfo.archival import CRLContainer

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

TOTAL = {AdESStatus.PASSED: "TOTAL_PASSED", AdESStatus.INDETERMINATE: "INDETERMINATE", AdESStatus.FAILED: "TOTAL_FAILED"}


def read(path):
    with open(path, "rb") as f:
        data = f.read()
    return pem.unarmor(data)[2] if pem.detect(data) else data


def specification(roots, crls):
    rule = RevocationCheckingRule.CRL_OR_OCSP_REQUIRED
    anchors = [CertTrustAnchor(x509.Certificate.load(read(p))) for p in roots]
    trust = SimpleTrustManager.build(trust_roots=anchors)
    certs = CertValidationPolicySpec(
        trust_manager=trust,
        revinfo_policy=CertRevTrustPolicy(RevocationCheckingPolicy(
            ee_certificate_rule=rule, intermediate_ca_cert_rule=rule)))
    return SignatureValidationSpec(
        cert_validation_policy=certs,
        revinfo_gathering_policy=RevocationInfoGatheringSpec(
            online_fetching_rule=RevinfoOnlineFetchingRule.LOCAL_ONLY,
            certificate_fetching_rule=CertificateFetchingRule.NEVER_FETCH),
        local_knowledge=LocalKnowledge(known_crls=[
            CRLContainer(crl.CertificateList.load(read(p))) for p in crls]))


def with_store(spec, reader):
    """The specification that knows what the file's DSS holds."""
    known, facts = spec.local_knowledge, ades._dss_to_local_knowledge(reader)
    return dataclasses.replace(spec, local_knowledge=LocalKnowledge(
        known_crls=known.known_crls + facts.known_crls, known_ocsps=facts.known_ocsps, known_certs=facts.known_certs))


async def signature(sig, spec, reader):
    """The indication of one signature, by the process that EN 319 102-1 has for its
    form: basic (5.3), with time (5.5), with archive data (5.6); and that of its timestamp."""
    status = {"status_cls": PdfSignatureStatus, "raw_digest": sig.compute_digest(), "extra_status_kwargs": sig.summarise_integrity_info()}
    stamps = list(generic_cms.extract_tst_data_iter(sig.signer_info, signed=False))
    later = [t for t in reader.embedded_timestamp_signatures if t.signed_revision > sig.signed_revision]
    if not stamps:
        return await ades.ades_basic_validation(sig.signed_data, with_store(spec, reader), raw_digest=sig.compute_digest()), ""
    if not later:
        result = await ades.ades_with_time_validation(sig.signed_data, with_store(spec, reader), **status)
        token = await ades.ades_timestamp_validation(
            stamps[0], with_store(spec, reader), generic_cms.message_imprint_checker(sig.signer_info))
        return result, TOTAL[token.ades_subindic.status]
    result = await ades.ades_lta_validation(sig, PdfSignatureValidationSpec(spec, DEFAULT_DIFF_POLICY))
    token = result.signature_timestamp_status
    return result, TOTAL[token.ades_subindic.status] if token else ""


async def timestamp(sig, spec, reader):
    """The indication of a document timestamp (5.4)."""
    return await ades.ades_timestamp_validation(sig.signed_data, with_store(spec, reader), sig.compute_digest)


def changed(sig):
    """What came after the signature and may not, "" for nothing."""
    info = sig.summarise_integrity_info()
    if info["docmdp_ok"] and info["coverage"].value >= 1:
        return ""
    return f"coverage {info['coverage'].name}, changes: {info.get('diff_result') or 'none allowed'}"


async def judge(path, roots, crls):
    spec = specification(roots, crls)
    out = []
    with open(path, "rb") as f:
        reader = PdfFileReader(f, strict=True)
        for sig in reader.embedded_signatures:
            stamp = sig.sig_object_type == "/DocTimeStamp"
            entry = {"field": sig.field_name, "kind": "document timestamp" if stamp else "signature", "sub": "", "errors": []}
            out.append(entry)
            try:
                sig.compute_integrity_info(diff_policy=DEFAULT_DIFF_POLICY)
                if stamp:
                    result = await timestamp(sig, spec, reader)
                else:
                    result, entry["timestamps"] = await signature(sig, spec, reader)
                sub = result.ades_subindic
                entry["indication"] = TOTAL[sub.status]
                if sub.status != AdESStatus.PASSED:
                    entry["sub"] = sub.standard_name
                    entry["errors"].append(str(result.failure_msg or ""))
                bad = changed(sig)
                if bad and sub.status == AdESStatus.PASSED:
                    entry["indication"], entry["sub"] = "INDETERMINATE", "SIG_CONSTRAINTS_FAILURE"
                if bad:
                    entry["errors"].append("pyhanko: " + bad)
            except SignatureValidationError as e:
                sub = e.ades_subindication
                entry["indication"] = TOTAL[sub.status] if sub else "TOTAL_FAILED"
                entry["sub"] = sub.standard_name if sub else "FORMAT_FAILURE"
                entry["errors"].append(str(e.failure_message))
    return {"file": path, "signatures": out}


def main():
    for line in sys.stdin:
        path, roots, crls = line.rstrip("\n").split("\t")
        try:
            verdict = asyncio.run(judge(path, [p for p in roots.split(":") if p], [p for p in crls.split(":") if p]))
        except Exception as e:  # one file must not end the others
            verdict = {"file": path, "error": f"{type(e).__name__}: {e}", "signatures": []}
        print(json.dumps(verdict), flush=True)


if __name__ == "__main__":
    main()
