import java.io.FileOutputStream;
import java.io.File;

/** Those PDFs of this folder that Java libraries make; make.sh calls it. */
public class Make {
    public static void main(String[] args) throws Exception {
        try (org.apache.pdfbox.pdmodel.PDDocument d = new org.apache.pdfbox.pdmodel.PDDocument()) {
            for (String text : new String[] {"Order 4711", "Annex"}) {
                org.apache.pdfbox.pdmodel.PDPage page = new org.apache.pdfbox.pdmodel.PDPage();
                d.addPage(page);
                try (var c = new org.apache.pdfbox.pdmodel.PDPageContentStream(d, page)) {
                    c.beginText();
                    c.setFont(new org.apache.pdfbox.pdmodel.font.PDType1Font(org.apache.pdfbox.pdmodel.font.Standard14Fonts.FontName.HELVETICA), 20);
                    c.newLineAtOffset(72, 700);
                    c.showText(text);
                    c.endText();
                }
            }
            d.save("pdfbox.pdf");
            d.save(new File("pdfbox-table.pdf"), org.apache.pdfbox.pdfwriter.compress.CompressParameters.NO_COMPRESSION);
        }
        var o = new com.lowagie.text.Document();
        com.lowagie.text.pdf.PdfWriter.getInstance(o, new FileOutputStream("openpdf.pdf"));
        o.open();
        o.add(new com.lowagie.text.Paragraph("Order 4711"));
        o.newPage();
        o.add(new com.lowagie.text.Paragraph("Annex"));
        o.close();
        for (boolean full : new boolean[] {false, true}) {
            var p = new com.itextpdf.kernel.pdf.WriterProperties();
            p.setFullCompressionMode(full);
            if (full) {
                p.setPdfVersion(com.itextpdf.kernel.pdf.PdfVersion.PDF_2_0);
            }
            var pdf = new com.itextpdf.kernel.pdf.PdfDocument(new com.itextpdf.kernel.pdf.PdfWriter(full ? "itext-2.0.pdf" : "itext.pdf", p));
            var doc = new com.itextpdf.layout.Document(pdf);
            doc.add(new com.itextpdf.layout.element.Paragraph("Order 4711"));
            doc.add(new com.itextpdf.layout.element.AreaBreak());
            doc.add(new com.itextpdf.layout.element.Paragraph("Annex"));
            doc.close();
        }
    }
}
