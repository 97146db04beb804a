#!/bin/sh
# Makes the PDFs of this folder. Needs libreoffice-writer-nogui, ghostscript, qpdf
# and python3 with pyHanko (for the ones that others have signed). What it makes
# differs in dates and identifiers from run to run; the results are committed.
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

office() { # FILTER-OPTIONS: contract.html as PDF in $tmp
	soffice --headless --convert-to "pdf:writer_web_pdf_Export:$1" --outdir "$tmp" contract.html >/dev/null 2>&1
}
office '{"UseTaggedPDF":{"type":"boolean","value":"true"}}'
qpdf --object-streams=generate --recompress-flate --compression-level=9 "$tmp/contract.pdf" contract.pdf
office '{"SelectPdfVersion":{"type":"long","value":"2"}}'
qpdf --object-streams=disable --recompress-flate --compression-level=9 "$tmp/contract.pdf" "$tmp/a.pdf"
qpdf --object-streams=disable "$tmp/a.pdf" --pages . 2 -- pdfa.pdf
qpdf --linearize --object-streams=generate contract.pdf linearized.pdf

python3 make.py .

gs -q -dNOSAFER -sDEVICE=pdfwrite -dCompatibilityLevel=1.3 -o v13.pdf table.pdf
qpdf --force-version=2.0 --object-streams=generate table.pdf v20.pdf
qpdf --encrypt "" secret 256 -- table.pdf encrypted.pdf
qpdf --encrypt open secret 128 --use-aes=y -- table.pdf encrypted-128.pdf
qpdf --linearize table.pdf linearized-table.pdf

# Signed by others, with pyHanko.
openssl req -x509 -newkey rsa:2048 -nodes -days 36500 -subj "/O=Other Ltd/CN=Otto Other" \
	-keyout "$tmp/key.pem" -out "$tmp/cert.pem" 2>/dev/null
python3 make-signed.py "$tmp/key.pem" "$tmp/cert.pem"
