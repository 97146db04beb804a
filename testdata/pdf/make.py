#!/usr/bin/env python3
"""Writes the hand-made PDFs of this folder; make.sh calls it. A document is a
dictionary from object number to source; xref tables and streams are written
around it, rightly or, where a case asks for it, wrongly."""
import re, sys, zlib

out = sys.argv[1]

def objects(objs):
    body, offsets = b"", {}
    for n, src in objs.items():
        offsets[n] = len(body)
        body += b"%d 0 obj\n" % n + src + b"\nendobj\n"
    return body, offsets

def table(offsets, base, size):
    rows = b"0000000000 65535 f \n"
    for n in range(1, size):
        rows += b"%010d 00000 n \n" % (base + offsets[n]) if n in offsets else b"0000000000 00000 f \n"
    return b"xref\n0 %d\n" % size + rows

def pdf(objs, version=b"1.7", trailer=b"", size=None, head=None):
    head = head or b"%PDF-" + version + b"\n%\xe2\xe3\xcf\xd3\n"
    body, offsets = objects(objs)
    n = max(objs) + 1
    start = len(head) + len(body)
    return head + body + table(offsets, len(head), n) + b"trailer\n<</Size %d /Root 1 0 R /ID [<00112233445566778899AABBCCDDEEFF> <00112233445566778899AABBCCDDEEFF>] " % (size or n) + trailer + b">>\nstartxref\n%d\n%%%%EOF\n" % start

def stream(data, extra=b""):
    return b"<</Length %d %s>>\nstream\n" % (len(data), extra) + data + b"\nendstream"

FONT = b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>"
def text(words, size=14, x=72, y=720):
    return stream(b"BT /F1 %d Tf %d %d Td (%s) Tj ET" % (size, x, y, words))

def page(extra=b"", box=b"/MediaBox [0 0 595 842]", contents=4, res=b"/Resources <</Font <</F1 5 0 R>>>>"):
    return b"<</Type /Page /Parent 2 0 R %s %s /Contents %d 0 R %s>>" % (box, res, contents, extra)

PAGES1 = b"<</Type /Pages /Kids [3 0 R] /Count 1>>"
def simple(words, catalog=b"", extra=b"", **kw):
    return {1: b"<</Type /Catalog /Pages 2 0 R %s>>" % catalog, 2: PAGES1, 3: page(extra, **kw), 4: text(words), 5: FONT}

def write(name, data):
    open(out + "/" + name, "wb").write(data)

one = simple(b"One page, one table")
write("table.pdf", pdf(one, b"1.4"))

# Pages of every rotation, an odd CropBox, a tiny page, a stack that is left open.
o = {1: b"<</Type /Catalog /Pages 2 0 R>>",
     2: b"<</Type /Pages /Kids [3 0 R 6 0 R 7 0 R 8 0 R 9 0 R 10 0 R 11 0 R] /Count 7 /MediaBox [0 0 595 842] /Resources <</Font <</F1 5 0 R>>>>>>",
     4: text(b"Which way is up?"), 5: FONT}
for n, extra in {3: b"", 6: b"/Rotate 90", 7: b"/Rotate 180", 8: b"/Rotate 270",
                 9: b"/Rotate -90 /CropBox [50 300 500 800]", 10: b"/MediaBox [10 20 110 80]"}.items():
    o[n] = b"<</Type /Page /Parent 2 0 R /Contents 4 0 R %s>>" % extra
o[11] = b"<</Type /Page /Parent 2 0 R /Contents [12 0 R 4 0 R]>>"
o[12] = stream(b"Q q 0.5 0 0 0.5 100 100 cm q 1 0 0 rg")
write("rotated.pdf", pdf(o))

# A form with fields of several kinds, two of them empty signature fields.
form = b"/AcroForm 6 0 R"
o = simple(b"A form", form, b"/Annots 12 0 R")
o[6] = b"<</Fields [7 0 R 8 0 R 9 0 R 11 0 R] /DR <</Font <</Helv 5 0 R>>>> /DA (/Helv 0 Tf 0 g)>>"
o[7] = b"<</Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (Jane) /Rect [72 600 300 620] /F 4 /P 3 0 R /DA (/Helv 12 Tf 0 g)>>"
o[8] = b"<</Type /Annot /Subtype /Widget /FT /Btn /T (agree) /Rect [72 560 90 578] /F 4 /P 3 0 R /AS /Off>>"
o[9] = b"<</FT /Sig /T (board) /Kids [10 0 R]>>"
o[10] = b"<</Type /Annot /Subtype /Widget /T (chair) /Parent 9 0 R /Rect [72 400 300 480] /F 4 /P 3 0 R>>"
o[11] = b"<</Type /Annot /Subtype /Widget /FT /Sig /T (Witness) /Rect [320 400 540 480] /F 4 /P 3 0 R>>"
o[12] = b"[7 0 R 8 0 R 10 0 R 11 0 R]"
write("form.pdf", pdf(o))

o = simple(b"Press nothing", b"/OpenAction 6 0 R /Names <</EmbeddedFiles <</Names [(a.txt) 8 0 R]>>>> /OCProperties <</OCGs [10 0 R] /D <</OFF [10 0 R]>>>>", b"/Annots [7 0 R]")
o[6] = b"<</Type /Action /S /JavaScript /JS (app.alert\\('boo'\\))>>"
o[7] = b"<</Type /Annot /Subtype /Link /Rect [72 700 200 740] /A <</S /Launch /F (calc.exe)>>>>"
o[8] = b"<</Type /Filespec /F (a.txt) /EF <</F 9 0 R>>>>"
o[9] = stream(b"attached", b"/Type /EmbeddedFile")
o[10] = b"<</Type /OCG /Name (hidden clause)>>"
write("active.pdf", pdf(o))

o = simple(b"Please wait", b"/AcroForm <</Fields [] /XFA 6 0 R>> /NeedsRendering true")
o[6] = stream(b"<xdp:xdp xmlns:xdp='http://ns.adobe.com/xdp/'/>")
write("xfa.pdf", pdf(o))

# Objects in an object stream, found by a cross-reference stream.
def xrefstream(packed, plain, entries=None, trailer=b"", size=None, index=None):
    head = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    body, offsets = objects(plain)
    rows = b""
    n = max([*plain, *packed]) + 1
    start = len(head) + len(body)
    container = max(plain)
    for i in range(n + 1):
        if i in plain: row = (1, len(head) + offsets[i], 0)
        elif i in packed: row = (2, container, list(packed).index(i))
        elif i == n: row = (1, start, 0)
        else: row = (0, 0, 65535)
        if entries and i in entries: row = entries[i]
        rows += bytes([row[0]]) + row[1].to_bytes(4, "big") + row[2].to_bytes(2, "big")
    z = zlib.compress(rows, 9)
    x = b"%d 0 obj\n" % n + stream(z, b"/Type /XRef /Size %d /W [1 4 2] /Root 1 0 R /Filter /FlateDecode " % (size or n + 1) + trailer) + b"\nendobj\n"
    return head + body + x + b"startxref\n%d\n%%%%EOF\n" % start

def objstm(packed):
    nums, data = b"", b""
    for n, src in packed.items():
        nums += b"%d %d " % (n, len(data)); data += src + b"\n"
    return stream(zlib.compress(nums + data, 9), b"/Type /ObjStm /N %d /First %d /Filter /FlateDecode" % (len(packed), len(nums)))

one = simple(b"Packed")
packed = {n: one[n] for n in (1, 2, 3, 5)}
plain = {4: one[4], 6: objstm(packed)}
write("packed.pdf", xrefstream(packed, plain))

# Hybrid: a table for old readers, and a stream that knows more (the form's field).
head = b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n"
o = simple(b"Hybrid", b"/AcroForm <</Fields [7 0 R]>>", b"/Annots [7 0 R]")
o[6] = objstm({7: b"<</Type /Annot /Subtype /Widget /FT /Tx /T (old) /Rect [72 600 300 620] /F 4>>"})
body, offsets = objects(o)
at = len(head) + len(body)
rows = bytes([2]) + (6).to_bytes(4, "big") + (0).to_bytes(2, "big")
xs = b"8 0 obj\n" + stream(rows, b"/Type /XRef /Size 9 /W [1 4 2] /Index [7 1] /Root 1 0 R") + b"\nendobj\n"
offsets[8] = len(body)
start = at + len(xs)
write("hybrid.pdf", head + body + xs + table(offsets, len(head), 9) + b"trailer\n<</Size 9 /Root 1 0 R /XRefStm %d>>\nstartxref\n%d\n%%%%EOF\n" % (at, start))

# Broken ones. Each is refused; the reason stands in signature/pdf's tests.
good = pdf(simple(b"Broken"))
write("broken-cut.pdf", good[:len(good) // 2])
write("broken-offset.pdf", good.replace(b"startxref\n", b"startxref\n1"))
write("broken-shifted.pdf", good.replace(b"%\xe2\xe3\xcf\xd3\n", b"%\xe2\xe3\xcf\xd3 shifted\n"))
write("broken-length.pdf", re.sub(rb"/Length \d\d", b"/Length 09", good))
o = simple(b"Two contents"); o[3] = o[3].replace(b"/Type /Page ", b"/Type /Page /Contents 5 0 R ")
write("broken-twice.pdf", pdf(o))
write("broken-loop.pdf", pdf(simple(b"Prev loop"), trailer=b"/Prev %d " % pdf(simple(b"Prev loop")).index(b"xref\n0")))
o = simple(b"Page tree loop"); o[2] = b"<</Type /Pages /Kids [3 0 R 2 0 R] /Count 2>>"
write("broken-tree.pdf", pdf(o))
write("broken-size.pdf", pdf(simple(b"Size too small"), size=4))
write("broken-pages.pdf", pdf({1: b"<</Type /Catalog /Pages 2 0 R>>", 2: b"<</Type /Pages /Kids [] /Count 0>>"}))
write("bomb-size.pdf", pdf(simple(b"Huge Size"), size=99999999999))
write("bomb-nested.pdf", pdf(simple(b"Deep", b"/X " + b"[" * 20000 + b"]" * 20000)))
bomb = zlib.compress(b"7 0 " + b" " * (90 << 20), 9)
bomb = zlib.compress(bomb, 9)
packed = {n: one[n] for n in (1, 2, 3, 5)}
write("bomb-flate.pdf", xrefstream(packed, {4: one[4], 6: stream(bomb, b"/Type /ObjStm /N 4 /First 4 /Filter [/FlateDecode /FlateDecode]")}))
write("bomb-objstm.pdf", xrefstream(packed, {4: one[4], 6: objstm(packed)}, entries={6: (2, 6, 0)}))
deep = {1: b"<</Type /Catalog /Pages 2 0 R>>", 4: text(b"deep"), 5: FONT}
deep[2] = b"<</Type /Pages /Kids [10 0 R] /Count 1>>"
for i in range(10, 110): deep[i] = b"<</Type /Pages /Parent %d 0 R /Kids [%d 0 R] /Count 1>>" % (2 if i == 10 else i - 1, i + 1)
deep[110] = b"<</Type /Page /Parent 109 0 R /MediaBox [0 0 595 842] /Contents 4 0 R>>"
write("bomb-tree.pdf", pdf(deep))
write("not.pdf", b"PK\x03\x04 this is no PDF at all\n")

# Endings that readers accept.
write("trailing.pdf", pdf(simple(b"Trailing bytes")) + b"\r\n\r\n")
write("noeol.pdf", pdf(simple(b"No end of line")).rstrip())
write("rights.pdf", pdf(simple(b"Reader-enabled", b"/Perms <</UR3 6 0 R>>") | {6: b"<</Type /Sig /Filter /Adobe.PPKLite>>"}))
