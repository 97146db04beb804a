#!/bin/sh
# Makes the PDFs of this folder, each by another program; README says which. Needs
# Debian's cairo, chromium, enscript, fop, ghostscript, groff, img2pdf,
# libreoffice-writer-nogui, mupdf-tools, pdftk-java, qpdf, texlive-latex-base,
# weasyprint, wkhtmltopdf; a Python with fpdf2, reportlab, pypdf, pikepdf, PyMuPDF,
# borb, pillow ($PYTHON); a Node folder with pdf-lib, pdfkit, jspdf ($NODE); a folder
# of jars of PDFBox 3, OpenPDF and iText 7 ($JARS). What it makes differs in dates and
# identifiers from run to run; the results are committed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
want() { [ $# = 1 ] && { [ -z "${ONLY:-}" ] || case " $ONLY " in *" $1 "*) true ;; *) false ;; esac; }; }

cat >"$tmp/page.html" <<'H'
<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Order 4711</title></head>
<body style="font-family: DejaVu Sans"><h1>Order 4711</h1><p>Zoë Müller orders <a href="https://corp.test/">40 chairs</a> for 3,200.00 €.</p>
<table border="1"><tr><td>Chairs</td><td>40</td></tr></table><div style="page-break-before: always">Annex: “delivery” by 1 May.</div></body></html>
H

want cairo && /usr/bin/python3 - cairo.pdf <<'P'
import cairo, sys
s = cairo.PDFSurface(sys.argv[1], 595, 842)
s.set_metadata(cairo.PDF_METADATA_TITLE, "Order 4711")
c = cairo.Context(s)
c.select_font_face("DejaVu Sans"); c.set_font_size(20); c.move_to(72, 100); c.show_text("Order 4711, Zoë Müller")
g = cairo.LinearGradient(72, 0, 500, 0); g.add_color_stop_rgba(0, 1, 0, 0, .5); g.add_color_stop_rgba(1, 0, 0, 1, .9)
c.set_source(g); c.rectangle(72, 200, 428, 60); c.fill(); c.show_page()
s.set_size(842, 595); c.set_source_rgb(0, 0, 0); c.move_to(72, 100); c.show_text("landscape"); c.show_page()
P
want chromium && chromium --headless --no-sandbox --disable-gpu --print-to-pdf=chromium.pdf "file://$tmp/page.html" >/dev/null 2>&1
want weasyprint && weasyprint -q "$tmp/page.html" weasyprint.pdf
want weasyprint-pdfa3b && "$PYTHON" -m weasyprint -q --pdf-variant pdf/a-3b "$tmp/page.html" weasyprint-pdfa3b.pdf
want wkhtmltopdf && QT_QPA_PLATFORM=offscreen wkhtmltopdf -q "$tmp/page.html" wkhtmltopdf.pdf
want groff && printf '.TL\nOrder 4711\n.PP\nForty chairs for 3,200.00.\n.bp\n.PP\nAnnex\n' | groff -ms -Tpdf >groff.pdf
want enscript && printf 'Order 4711\nForty chairs\n\fAnnex\n' | enscript -q -B -p "$tmp/e.ps" && ps2pdf "$tmp/e.ps" enscript.pdf
want fop && cat >"$tmp/o.fo" <<'F' && fop -q -fo "$tmp/o.fo" -pdf fop.pdf >/dev/null 2>&1
<?xml version="1.0"?><root xmlns="http://www.w3.org/1999/XSL/Format"><layout-master-set><simple-page-master master-name="p" page-width="210mm" page-height="297mm" margin="25mm"><region-body/></simple-page-master></layout-master-set>
<page-sequence master-reference="p"><flow flow-name="xsl-region-body"><block font-size="20pt">Order 4711</block><block break-after="page">Forty chairs for 3,200.00.</block><block>Annex</block></flow></page-sequence></root>
F

cat >"$tmp/o.tex" <<'T'
\documentclass{article}\usepackage{hyperref}\begin{document}\section{Order 4711}Forty chairs, $\int_0^{40} 80\,dx$; see page \pageref{x}.
\newpage\section{Annex}\label{x}Delivery.\end{document}
T
want pdftex && (cd "$tmp" && pdflatex -interaction=batchmode o.tex >/dev/null && pdflatex -interaction=batchmode o.tex >/dev/null) && cp "$tmp/o.pdf" pdftex.pdf
want pdftex-table && (cd "$tmp" && pdflatex -interaction=batchmode -jobname t '\pdfobjcompresslevel0\pdfminorversion4\input{o}' >/dev/null) && cp "$tmp/t.pdf" pdftex-table.pdf

office() { soffice --headless "-env:UserInstallation=file://$tmp/office" --convert-to "pdf:$1" --outdir "$tmp" "$2" >/dev/null 2>&1; }
want libreoffice && office writer_web_pdf_Export "$tmp/page.html" && cp "$tmp/page.pdf" libreoffice.pdf
for v in 1 2 3; do # PDF/A-1b, 2b, 3b
	want libreoffice-pdfa$v && office "writer_web_pdf_Export:{\"SelectPdfVersion\":{\"type\":\"long\",\"value\":\"$v\"}}" "$tmp/page.html" && cp "$tmp/page.pdf" libreoffice-pdfa$v.pdf
done
want libreoffice-ua && office 'writer_web_pdf_Export:{"SelectPdfVersion":{"type":"long","value":"17"},"PDFUACompliance":{"type":"boolean","value":"true"},"ExportBookmarks":{"type":"boolean","value":"true"}}' "$tmp/page.html" && cp "$tmp/page.pdf" libreoffice-ua.pdf

for v in 1.3 1.4 1.5 1.6 1.7 2.0; do
	want ghostscript-$v && gs -q -sDEVICE=pdfwrite -dCompatibilityLevel=$v -o ghostscript-$v.pdf pdftex.pdf
done
want ghostscript-scan && gs -q -sDEVICE=pdfimage8 -r60 -o ghostscript-scan.pdf pdftex.pdf

gs -q -sDEVICE=jpeggray -r72 -dLastPage=1 -o "$tmp/scan.jpg" pdftex.pdf
gs -q -sDEVICE=tiffg4 -r100 -dLastPage=1 -o "$tmp/scan.tif" pdftex.pdf
want img2pdf && img2pdf --pagesize A4 -o img2pdf.pdf "$tmp/scan.jpg" "$tmp/scan.tif"

want img2pdf-pdfa && "$PYTHON" -m img2pdf --pdfa /usr/share/color/icc/ghostscript/srgb.icc -o img2pdf-pdfa.pdf "$tmp/scan.jpg"

want mutool-create && { printf '%%%%MediaBox 0 0 595 842\n%%%%Font F Times-Roman\nBT /F 24 Tf 72 720 Td (Order 4711) Tj ET\n' >"$tmp/p.txt"; mutool create -o mutool-create.pdf "$tmp/p.txt"; }
want mutool-clean && mutool clean -gggg -z pdftex.pdf mutool-clean.pdf
want mutool-draw && mutool convert -o mutool-draw.pdf "$tmp/scan.jpg"
want qpdf-qdf && qpdf --qdf --object-streams=disable pdftex-table.pdf qpdf-qdf.pdf
want qpdf-linear && qpdf --linearize --object-streams=generate fop.pdf qpdf-linear.pdf
want qpdf-merged && qpdf --empty --pages cairo.pdf fop.pdf img2pdf.pdf 1 -- qpdf-merged.pdf
want pdftk && pdftk cairo.pdf fop.pdf cat output pdftk.pdf

"$PYTHON" make.py "$tmp/scan.jpg" "${ONLY:-}"
want pdf-lib && NODE_PATH="$NODE/node_modules" node make.js
if want java; then java -cp "$JARS/*" Make.java; fi
