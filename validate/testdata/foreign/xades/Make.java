import eu.europa.esig.dss.enumerations.DigestAlgorithm;
import eu.europa.esig.dss.enumerations.SignatureAlgorithm;
import eu.europa.esig.dss.enumerations.SignatureLevel;
import eu.europa.esig.dss.enumerations.SignaturePackaging;
import eu.europa.esig.dss.model.DSSDocument;
import eu.europa.esig.dss.model.FileDocument;
import eu.europa.esig.dss.model.InMemoryDocument;
import eu.europa.esig.dss.model.SignatureValue;
import eu.europa.esig.dss.model.ToBeSigned;
import eu.europa.esig.dss.model.x509.CertificateToken;
import eu.europa.esig.dss.spi.DSSUtils;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonTrustedCertificateSource;
import eu.europa.esig.dss.spi.x509.revocation.crl.ExternalResourcesCRLSource;
import eu.europa.esig.dss.spi.x509.tsp.KeyEntityTSPSource;
import eu.europa.esig.dss.xades.XAdESSignatureParameters;
import eu.europa.esig.dss.xades.signature.XAdESService;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.List;

/**
 * Signs with EU DSS what package validate must judge: see README. Arguments: the
 * folder that pki.sh was run in, the folder for the results.
 */
public class Make {
    private static Path pki, out;

    public static void main(String[] args) throws Exception {
        pki = Path.of(args[0]);
        out = Path.of(args[1]);
        Files.copy(pki.resolve("root.pem"), out.resolve("root.pem"), java.nio.file.StandardCopyOption.REPLACE_EXISTING);
        DSSDocument xml = new InMemoryDocument(("<?xml version=\"1.0\"?>\n<!-- an order -->\n<o:order xmlns:o=\"urn:order\" Id=\"o\" note=\"two\n lines\">\n"
            + "  <sum currency=\"EUR\">100</sum>\n  <text>Zo\u00eb &amp; Co.</text>\n</o:order>\n").getBytes("UTF-8"), "order.xml");
        Files.writeString(out.resolve("letter.txt"), "a letter\n");
        DSSDocument text = new FileDocument(out.resolve("letter.txt").toFile());
        for (String key : new String[] {"rsa", "ec"}) {
            make("enveloped-" + key, key, xml, SignaturePackaging.ENVELOPED);
            make("enveloping-" + key, key, text, SignaturePackaging.ENVELOPING);
            make("detached-" + key, key, text, SignaturePackaging.DETACHED);
            make("within-" + key, key, xml, SignaturePackaging.INTERNALLY_DETACHED);
        }
    }

    /** B-T, then with a list that is younger than the timestamp B-LT and B-LTA. */
    private static void make(String name, String key, DSSDocument document, SignaturePackaging packaging) throws Exception {
        boolean ec = key.equals("ec");
        XAdESSignatureParameters p = new XAdESSignatureParameters();
        p.setSignatureLevel(SignatureLevel.XAdES_BASELINE_T);
        p.setSignaturePackaging(packaging);
        p.setDigestAlgorithm(ec ? DigestAlgorithm.SHA256 : DigestAlgorithm.SHA512);
        CertificateToken cert = certificate(key);
        p.setSigningCertificate(cert);
        p.setCertificateChain(cert, certificate("root"));
        XAdESService service = service(null);
        ToBeSigned data = service.getDataToSign(document, p);
        Signature s = Signature.getInstance(ec ? "SHA256withECDSA" : "SHA512withRSA");
        s.initSign(key(key, ec ? "EC" : "RSA"));
        s.update(data.getBytes());
        DSSDocument signed = service.signDocument(document, p,
            new SignatureValue(ec ? SignatureAlgorithm.ECDSA_SHA256 : SignatureAlgorithm.RSA_SHA512, s.sign()));
        signed.save(out.resolve(name + "-t.xml").toString());
        Thread.sleep(1500);
        new ProcessBuilder("openssl", "ca", "-gencrl", "-config", "c.cnf", "-name", "ca0", "-keyfile", "root.key", "-cert", "root.pem", "-out", name + ".crl")
            .directory(pki.toFile()).start().waitFor();
        p.setDetachedContents(List.of(document));
        p.setSignatureLevel(SignatureLevel.XAdES_BASELINE_LTA);
        service(pki.resolve(name + ".crl")).extendDocument(signed, p).save(out.resolve(name + "-lta.xml").toString());
    }

    private static XAdESService service(Path crl) throws Exception {
        CommonTrustedCertificateSource trusted = new CommonTrustedCertificateSource();
        trusted.addCertificate(certificate("root"));
        CommonCertificateVerifier verifier = new CommonCertificateVerifier();
        verifier.setTrustedCertSources(trusted);
        verifier.setAIASource(null);
        if (crl != null) {
            verifier.setCrlSource(new ExternalResourcesCRLSource(new FileDocument(crl.toFile())));
        }
        KeyEntityTSPSource tsp = new KeyEntityTSPSource(key("tsa", "EC"), certificate("tsa").getCertificate(),
            List.of(certificate("tsa").getCertificate(), certificate("root").getCertificate()));
        tsp.setTsaPolicy("1.2.3.4");
        XAdESService service = new XAdESService(verifier);
        service.setTspSource(tsp);
        return service;
    }

    private static CertificateToken certificate(String name) {
        return DSSUtils.loadCertificate(pki.resolve(name + ".pem").toFile());
    }

    private static PrivateKey key(String name, String algorithm) throws Exception {
        String pem = Files.readString(pki.resolve(name + ".key")).replaceAll("-----[A-Z ]+-----|\\s", "");
        return KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
    }
}
