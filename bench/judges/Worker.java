import eu.europa.esig.dss.enumerations.DigestAlgorithm;
import eu.europa.esig.dss.enumerations.Indication;
import eu.europa.esig.dss.enumerations.SignatureAlgorithm;
import eu.europa.esig.dss.enumerations.SignatureLevel;
import eu.europa.esig.dss.model.DSSDocument;
import eu.europa.esig.dss.model.FileDocument;
import eu.europa.esig.dss.model.InMemoryDocument;
import eu.europa.esig.dss.model.SignatureValue;
import eu.europa.esig.dss.model.ToBeSigned;
import eu.europa.esig.dss.model.x509.CertificateToken;
import eu.europa.esig.dss.pades.PAdESSignatureParameters;
import eu.europa.esig.dss.pades.signature.PAdESService;
import eu.europa.esig.dss.pades.validation.PDFDocumentValidator;
import eu.europa.esig.dss.pdf.modifications.DefaultPdfDifferencesFinder;
import eu.europa.esig.dss.pdf.pdfbox.PdfBoxDefaultObjectFactory;
import eu.europa.esig.dss.simplereport.SimpleReport;
import eu.europa.esig.dss.spi.DSSUtils;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonTrustedCertificateSource;
import eu.europa.esig.dss.spi.x509.revocation.crl.ExternalResourcesCRLSource;

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;

/**
 * DSS's side of bench/judges: signs and verifies one document many times.
 * Arguments: key, certificate, root, revocation list. A line on standard input is
 * an order: task, file, where to write what was signed, how often, with tabs
 * between them. A line on standard output is the time that it took, as JSON.
 */
public class Worker {
    private final CertificateToken certificate;
    private final PrivateKey key;
    private final boolean rsa;
    private final CommonCertificateVerifier verifier = new CommonCertificateVerifier();

    private Worker(String[] files) throws Exception {
        certificate = DSSUtils.loadCertificate(new File(files[1]));
        rsa = certificate.getPublicKey().getAlgorithm().equals("RSA");
        byte[] der = Base64.getMimeDecoder().decode(Files.readString(Path.of(files[0])).replaceAll("-----[^-]+-----", ""));
        key = KeyFactory.getInstance(rsa ? "RSA" : "EC").generatePrivate(new PKCS8EncodedKeySpec(der));
        CommonTrustedCertificateSource trusted = new CommonTrustedCertificateSource();
        trusted.addCertificate(DSSUtils.loadCertificate(new File(files[2])));
        verifier.setTrustedCertSources(trusted);
        verifier.setAIASource(null);
        verifier.setOcspSource(null);
        verifier.setCrlSource(new ExternalResourcesCRLSource(new FileDocument(files[3])));
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        System.setOut(System.err);
        Worker w = new Worker(args);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            String[] p = line.split("\t", -1);
            try {
                byte[] doc = Files.readAllBytes(Path.of(p[1]));
                byte[] made = null;
                long begin = System.nanoTime();
                for (int n = Integer.parseInt(p[3]); n > 0; n--) {
                    if (p[0].equals("sign")) {
                        made = w.sign(doc);
                    } else {
                        w.verify(doc);
                    }
                }
                long took = System.nanoTime() - begin;
                if (!p[2].isEmpty()) {
                    Files.write(Path.of(p[2]), made);
                }
                out.println("{\"nanoseconds\":" + took + "}");
            } catch (Throwable e) {
                out.println("{\"error\":\"" + String.valueOf(e).replaceAll("[^ -~]|[\"\\\\]", "?") + "\"}");
            }
        }
    }

    private byte[] sign(byte[] content) throws Exception {
        DSSDocument doc = new InMemoryDocument(content);
        PAdESSignatureParameters p = new PAdESSignatureParameters();
        p.setSignatureLevel(SignatureLevel.PAdES_BASELINE_B);
        p.setDigestAlgorithm(DigestAlgorithm.SHA256);
        p.setSigningCertificate(certificate);
        p.setCertificateChain(certificate);
        p.setReason("Bench");
        PAdESService service = new PAdESService(verifier);
        service.setPdfObjFactory(new PdfBoxDefaultObjectFactory());
        ToBeSigned data = service.getDataToSign(doc, p);
        Signature s = Signature.getInstance(rsa ? "SHA256withRSA" : "SHA256withECDSA");
        s.initSign(key);
        s.update(data.getBytes());
        SignatureValue value = new SignatureValue(rsa ? SignatureAlgorithm.RSA_SHA256 : SignatureAlgorithm.ECDSA_SHA256, s.sign());
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        service.signDocument(doc, p, value).writeTo(out);
        return out.toByteArray();
    }

    private void verify(byte[] content) {
        PDFDocumentValidator validator = new PDFDocumentValidator(new InMemoryDocument(content, "signed.pdf"));
        validator.setCertificateVerifier(verifier);
        // As in conformance/dss: no pages are drawn to compare them.
        DefaultPdfDifferencesFinder pages = new DefaultPdfDifferencesFinder();
        pages.setMaximalPagesAmountForVisualComparison(0);
        PdfBoxDefaultObjectFactory factory = new PdfBoxDefaultObjectFactory();
        factory.setPdfDifferencesFinder(pages);
        validator.setPdfObjFactory(factory);
        SimpleReport report = validator.validateDocument().getSimpleReport();
        for (String id : report.getSignatureIdList()) {
            if (report.getIndication(id) != Indication.TOTAL_PASSED) {
                throw new IllegalStateException(report.getIndication(id) + " " + report.getSubIndication(id));
            }
        }
    }
}
