"""Those PDFs of this folder that Python libraries make; make.sh calls it with a picture."""
import sys

import pymupdf as fitz
import pikepdf
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter
from reportlab.pdfgen import canvas

picture, only = sys.argv[1], sys.argv[2].split()


def want(name):
    return not only or name in only


if want("reportlab"):
    c = canvas.Canvas("reportlab.pdf")
    c.drawString(72, 720, "Order 4711")
    c.drawImage(picture, 72, 300, 200, 260)
    c.showPage()
    c.drawString(72, 720, "Annex")
    c.save()
if want("reportlab-form"):
    c = canvas.Canvas("reportlab-form.pdf")
    c.drawString(72, 720, "Order 4711")
    c.acroForm.textfield(name="chairs", x=72, y=650, width=200, height=24, value="40")
    c.acroForm.checkbox(name="express", x=72, y=600, checked=True)
    c.acroForm.choice(name="colour", x=72, y=550, width=120, height=24, value="red", options=["red", "blue"])
    c.acroForm.radio(name="pay", value="now", selected=True, x=72, y=500)
    c.acroForm.radio(name="pay", value="later", x=102, y=500)
    c.save()
if want("fpdf2"):
    p = FPDF()
    p.add_page()
    p.add_font("dejavu", "", "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
    p.set_font("dejavu", size=20)
    p.cell(text="Order 4711, Zoë Müller, Łódź")
    p.add_page(orientation="landscape")
    p.cell(text="Annex", link="https://corp.test/")
    p.output("fpdf2.pdf")
if want("pypdf"):
    w = PdfWriter(clone_from="pdftex.pdf")
    w.pages[0].rotate(90)
    w.add_metadata({"/Title": "Order 4711"})
    w.add_attachment("list.txt", b"40 chairs")
    w.write("pypdf.pdf")
if want("pypdf-update"):
    w = PdfWriter(fileobj="reportlab-form.pdf", incremental=True)
    w.update_page_form_field_values(w.pages[0], {"chairs": "41"})
    w.write("pypdf-update.pdf")
if want("pikepdf"):
    with pikepdf.open("fop.pdf") as p:
        p.pages[0].obj.UserUnit = 2
        p.pages[0].obj.CropBox = [50, 50, 500, 700]
        p.save("pikepdf.pdf", object_stream_mode=pikepdf.ObjectStreamMode.generate)
if want("pymupdf"):
    d = fitz.open()
    page = d.new_page()
    page.insert_text((72, 100), "Order 4711", fontsize=20)
    page.insert_image((72, 200, 272, 460), filename=picture)
    d.new_page(width=842, height=595).insert_text((72, 100), "Annex")
    d.save("pymupdf.pdf")
if want("pymupdf-update"):
    d = fitz.open("pymupdf.pdf")
    d[0].add_highlight_annot((70, 80, 200, 105))
    d.save("pymupdf-update.pdf")
    d = fitz.open("pymupdf-update.pdf")
    d[1].add_text_annot((300, 100), "seen")
    d.saveIncr()
if want("borb"):
    import borb.pdf
    d = borb.pdf.Document()
    page = borb.pdf.Page()
    d.append_page(page)
    borb.pdf.SingleColumnLayout(page).append_layout_element(borb.pdf.Paragraph("Order 4711"))
    borb.pdf.PDF.write(what=d, where_to="borb.pdf")
