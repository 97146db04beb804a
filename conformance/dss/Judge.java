import eu.europa.esig.dss.diagnostic.DiagnosticData;
import eu.europa.esig.dss.diagnostic.PDFRevisionWrapper;
import eu.europa.esig.dss.diagnostic.SignatureWrapper;
import eu.europa.esig.dss.diagnostic.TimestampWrapper;
import eu.europa.esig.dss.jaxb.object.Message;
import eu.europa.esig.dss.model.DSSDocument;
import eu.europa.esig.dss.model.FileDocument;
import eu.europa.esig.dss.pades.validation.PDFDocumentValidator;
import eu.europa.esig.dss.pdf.modifications.DefaultPdfDifferencesFinder;
import eu.europa.esig.dss.pdf.pdfbox.PdfBoxDefaultObjectFactory;
import eu.europa.esig.dss.simplereport.SimpleReport;
import eu.europa.esig.dss.spi.DSSUtils;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonTrustedCertificateSource;
import eu.europa.esig.dss.spi.x509.revocation.crl.ExternalResourcesCRLSource;
import eu.europa.esig.dss.validation.SignedDocumentValidator;
import eu.europa.esig.dss.validation.reports.Reports;

import java.io.BufferedReader;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Lets EU DSS validate files under its default policy, one after the other in
 * one process. A line on standard input is one file; four parts with a tab
 * between them: the file, the trusted roots, CRLs from outside the file, and what
 * a detached signature signs. All but the first are paths with a colon between
 * them, and may be empty. A line on standard output is what DSS says of
 * that file, as JSON.
 *
 * Nothing is fetched: there is no source for certificates, OCSP or CRLs but these.
 */
public class Judge {
    public static void main(String[] args) throws Exception {
        // Nothing else that a library prints may get between the lines.
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        System.setOut(System.err);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            String[] p = line.split("\t", -1);
            String verdict;
            try {
                verdict = judge(p[0], paths(p[1]), paths(p[2]), p.length > 3 ? p[3] : "");
            } catch (Throwable e) { // one file must not end the others
                verdict = "\"error\":" + quote(e.getClass().getSimpleName() + ": " + e.getMessage()) + ",\"signatures\":[]";
            }
            out.println("{\"file\":" + quote(p[0]) + "," + verdict + "}");
        }
    }

    private static List<String> paths(String s) {
        return s.isEmpty() ? List.of() : Arrays.asList(s.split(":"));
    }

    private static String judge(String file, List<String> roots, List<String> crls, String content) throws Exception {
        CommonTrustedCertificateSource trusted = new CommonTrustedCertificateSource();
        for (String r : roots) {
            trusted.addCertificate(DSSUtils.loadCertificate(new File(r)));
        }
        CommonCertificateVerifier verifier = new CommonCertificateVerifier();
        verifier.setTrustedCertSources(trusted);
        verifier.setAIASource(null);
        verifier.setOcspSource(null);
        verifier.setCrlSource(null);
        if (!crls.isEmpty()) {
            verifier.setCrlSource(new ExternalResourcesCRLSource(crls.stream().map(FileDocument::new).toArray(DSSDocument[]::new)));
        }
        if (!file.endsWith(".pdf")) {
            return beside(file, content, verifier);
        }
        PDFDocumentValidator validator = new PDFDocumentValidator(new FileDocument(file));
        validator.setCertificateVerifier(verifier);
        // Nobody draws pages to compare them: the default policy only warns of what
        // looks different, each visible signature makes a page look different, and
        // drawing is slow.
        DefaultPdfDifferencesFinder pages = new DefaultPdfDifferencesFinder();
        pages.setMaximalPagesAmountForVisualComparison(0);
        PdfBoxDefaultObjectFactory factory = new PdfBoxDefaultObjectFactory();
        factory.setPdfDifferencesFinder(pages);
        validator.setPdfObjFactory(factory);
        Reports reports = validator.validateDocument();
        print(reports);
        SimpleReport report = reports.getSimpleReport();
        DiagnosticData data = reports.getDiagnosticData();
        List<String> all = new ArrayList<>();
        for (SignatureWrapper s : data.getSignatures()) {
            String stamps = report.getSignatureTimestamps(s.getId()).stream()
                .filter(t -> data.getTimestampById(t.getId()).getType().isSignatureTimestamp())
                .map(t -> String.valueOf(t.getIndication())).collect(Collectors.joining(","));
            all.add(entry("signature", s.getPDFRevision(), report, s.getId())
                + ",\"level\":" + quote(String.valueOf(report.getSignatureFormat(s.getId())))
                + ",\"timestamps\":" + quote(stamps) + "}");
        }
        for (TimestampWrapper t : data.getTimestampList()) {
            if (t.getPDFRevision() != null && t.getType().isDocumentTimestamp()) {
                all.add(entry("document timestamp", t.getPDFRevision(), report, t.getId()) + "}");
            }
        }
        return "\"signatures\":[" + String.join(",", all) + "]";
    }

    /**
     * What is no PDF. Signatures have the name of their file in the container and the
     * serial number of their certificate, timestamps their number in the order of
     * their time.
     */
    private static String beside(String file, String content, CommonCertificateVerifier verifier) {
        SignedDocumentValidator validator = SignedDocumentValidator.fromDocument(new FileDocument(file));
        validator.setCertificateVerifier(verifier);
        if (!content.isEmpty()) {
            validator.setDetachedContents(paths(content).stream().map(FileDocument::new).collect(Collectors.toList()));
        }
        Reports reports = validator.validateDocument();
        print(reports);
        SimpleReport report = reports.getSimpleReport();
        DiagnosticData data = reports.getDiagnosticData();
        boolean container = data.isContainerInfoPresent();
        List<String> all = new ArrayList<>();
        for (SignatureWrapper s : data.getSignatures()) {
            String stamps = s.getTimestampList().stream().filter(t -> t.getType().isSignatureTimestamp())
                .map(t -> String.valueOf(report.getIndication(t.getId()))).collect(Collectors.joining(","));
            String serial = s.getSigningCertificate() == null ? "" : s.getSigningCertificate().getSerialNumber();
            all.add(entry((container ? s.getFilename() : "") + "/" + serial, "signature", report, s.getId())
                + ",\"level\":" + quote(String.valueOf(report.getSignatureFormat(s.getId())))
                + ",\"timestamps\":" + quote(stamps) + ",\"undefined\":[]}");
        }
        int number = 0;
        List<TimestampWrapper> archives = data.getTimestampList().stream()
            .filter(t -> t.getType().isArchivalTimestamp() || t.getType().isContainerTimestamp())
            .sorted(Comparator.comparing(TimestampWrapper::getProductionTime)).collect(Collectors.toList());
        for (TimestampWrapper t : archives) {
            all.add(entry("timestamp " + ++number, "archive timestamp", report, t.getId()) + ",\"undefined\":[]}");
        }
        return "\"signatures\":[" + String.join(",", all) + "]";
    }

    private static void print(Reports reports) {
        if ("true".equals(System.getenv("DSS_REPORT"))) {
            System.err.println(reports.getXmlDetailedReport());
        }
    }

    private static String entry(String kind, PDFRevisionWrapper revision, SimpleReport report, String id) {
        String field = revision == null ? "" : String.join(" & ", revision.getSignatureFieldNames());
        return entry(field, kind, report, id) + ",\"undefined\":" + undefined(revision);
    }

    private static String entry(String field, String kind, SimpleReport report, String id) {
        return "{\"field\":" + quote(field) + ",\"kind\":" + quote(kind)
            + ",\"indication\":" + quote(String.valueOf(report.getIndication(id)))
            + ",\"sub\":" + quote(report.getSubIndication(id) == null ? "" : report.getSubIndication(id).name())
            + ",\"errors\":" + list(report.getAdESValidationErrors(id))
            + ",\"warnings\":" + list(report.getAdESValidationWarnings(id));
    }

    /** The objects whose change after the signature DSS has no name for: it warns of them. */
    private static String undefined(PDFRevisionWrapper revision) {
        if (revision == null) {
            return "[]";
        }
        return revision.getPdfUndefinedChanges().stream().map(c -> quote(c.getAction() + " " + c.getType() + " " + c.getValue()))
            .collect(Collectors.joining(",", "[", "]"));
    }

    private static String list(Collection<Message> messages) {
        return messages.stream().map(m -> quote(m.getValue())).distinct().collect(Collectors.joining(",", "[", "]"));
    }

    private static String quote(String s) {
        StringBuilder b = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            if (c < ' ' || c == '"' || c == '\\' || c > '~') {
                b.append(String.format("\\u%04x", (int) c));
            } else {
                b.append(c);
            }
        }
        return b.append('"').toString();
    }
}
