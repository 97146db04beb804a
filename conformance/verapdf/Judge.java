import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.logging.Level;
import java.util.logging.Logger;

import org.verapdf.gf.foundry.VeraGreenfieldFoundryProvider;
import org.verapdf.pdfa.Foundries;
import org.verapdf.pdfa.PDFAParser;
import org.verapdf.pdfa.PDFAValidator;
import org.verapdf.pdfa.flavours.PDFAFlavour;
import org.verapdf.pdfa.results.TestAssertion;
import org.verapdf.pdfa.results.ValidationResult;

/**
 * Lets veraPDF say whether PDF files are the PDF/A that they claim to be, one after
 * the other in one process. A line on standard input is a file's path; a line on
 * standard output is what veraPDF says of it, as JSON: the flavour that the file
 * claims ("2b"; "" for none), and the clauses that it does not keep.
 */
public class Judge {
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        System.setOut(System.err);
        Logger.getLogger("").setLevel(Level.OFF);
        VeraGreenfieldFoundryProvider.initialise();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String path; (path = in.readLine()) != null; ) {
            String flavour = "", error = "";
            List<String> broken = new ArrayList<>();
            try (FileInputStream file = new FileInputStream(path); PDFAParser parser = Foundries.defaultInstance().createParser(file)) {
                PDFAFlavour claimed = parser.getFlavour();
                if (claimed != null && claimed.getPart().getPartNumber() > 0 && claimed != PDFAFlavour.NO_FLAVOUR) {
                    flavour = claimed.getId();
                    try (PDFAValidator validator = Foundries.defaultInstance().createValidator(claimed, false)) {
                        ValidationResult result = validator.validate(parser);
                        TreeSet<String> clauses = new TreeSet<>();
                        for (TestAssertion a : result.getTestAssertions()) {
                            if (a.getStatus() == TestAssertion.Status.FAILED) {
                                clauses.add(a.getRuleId().getClause() + "-" + a.getRuleId().getTestNumber());
                            }
                        }
                        if (!result.isCompliant() && clauses.isEmpty()) {
                            clauses.add("?");
                        }
                        broken.addAll(clauses);
                    }
                }
            } catch (Throwable e) { // one file must not end the others
                error = e.getClass().getSimpleName() + ": " + e.getMessage();
            }
            StringBuilder list = new StringBuilder();
            for (String s : broken) {
                list.append(list.length() > 0 ? "," : "").append(quote(s));
            }
            out.println("{\"file\":" + quote(path) + ",\"flavour\":" + quote(flavour) + ",\"error\":" + quote(error) + ",\"broken\":[" + list + "]}");
        }
    }

    private static String quote(String s) {
        StringBuilder b = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            b.append(c < ' ' || c == '"' || c == '\\' || c > '~' ? String.format("\\u%04x", (int) c) : String.valueOf(c));
        }
        return b.append('"').toString();
    }
}
