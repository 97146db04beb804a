"""pyHanko's side of bench/judges: signs and verifies one document many times.

Arguments: key, certificate, root, revocation list. A line on standard input is an
order: task, file, where to write what was signed, how often, with tabs between
them. A line on standard output is the time that it took, as JSON. Verification
is what conformance/pyhanko/judge.py does, with the same policy.
"""
import asyncio
import io
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "conformance", "pyhanko"))
import judge  # noqa: E402
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter  # noqa: E402
from pyhanko.pdf_utils.reader import PdfFileReader  # noqa: E402
from pyhanko.sign import signers  # noqa: E402
from pyhanko.sign.fields import SigSeedSubFilter  # noqa: E402

key, cert, root, crl = sys.argv[1:5]
signer = signers.SimpleSigner.load(key, cert, ca_chain_files=())
meta = signers.PdfSignatureMetadata(field_name="Signature1", md_algorithm="sha256", name="Jane Roe", reason="Bench",
                                    subfilter=SigSeedSubFilter.PADES)
spec = judge.specification([root], [crl])


def sign(doc):
    out = signers.sign_pdf(IncrementalPdfFileWriter(io.BytesIO(doc)), meta, signer)
    return out.getvalue()


def verify(doc):
    reader = PdfFileReader(io.BytesIO(doc), strict=True)
    sig, = reader.embedded_signatures
    sig.compute_integrity_info(diff_policy=judge.DEFAULT_DIFF_POLICY)
    result, _ = asyncio.run(judge.signature(sig, spec, reader))
    if judge.TOTAL[result.ades_subindic.status] != "TOTAL_PASSED" or judge.changed(sig):
        raise ValueError(f"{result.ades_subindic} {judge.changed(sig)}")


for line in sys.stdin:
    task, file, into, n = line.rstrip("\n").split("\t")
    try:
        with open(file, "rb") as f:
            doc = f.read()
        begin = time.perf_counter_ns()
        for _ in range(int(n)):
            out = (sign if task == "sign" else verify)(doc)
        took = {"nanoseconds": time.perf_counter_ns() - begin}
        if into:
            with open(into, "wb") as f:
                f.write(out)
    except Exception as e:  # the other side says what is wrong
        took = {"error": f"{type(e).__name__}: {e}"}
    print(json.dumps(took), flush=True)
