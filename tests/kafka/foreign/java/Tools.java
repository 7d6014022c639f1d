// Runs Kafka's console tools one after the other in one Java, which saves the start of one for each.
//   java Tools        reads a JSON array a line, [INPUT, CLASS, ARGUMENT...], and prints {"status":, "out":, "err":}

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.utils.internals.Exit;

public final class Tools {
    static final class Ended extends RuntimeException {
        private static final long serialVersionUID = 1L;
    }

    static final List<Runnable> hooks = new ArrayList<>(); // the console producer closes, and so flushes, in one
    static Integer ended; // the status that a tool asked for first: some catch what we throw, and ask again

    static void end(int status) {
        if (ended == null) ended = status;
        throw new Ended();
    }

    public static void main(String[] args) throws Exception {
        ObjectMapper json = new ObjectMapper();
        PrintStream out = System.out;
        PrintStream err = System.err;
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Exit.setExitProcedure((status, message) -> end(status));
        Exit.setHaltProcedure((status, message) -> end(status));
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = json.readValue(line, String[].class);
            ByteArrayOutputStream said = new ByteArrayOutputStream();
            ByteArrayOutputStream complained = new ByteArrayOutputStream();
            System.setIn(new ByteArrayInputStream(words[0].getBytes(StandardCharsets.UTF_8)));
            System.setOut(new PrintStream(said, true, StandardCharsets.UTF_8));
            System.setErr(new PrintStream(complained, true, StandardCharsets.UTF_8));
            int status = run(words[1], Arrays.copyOfRange(words, 2, words.length));
            System.out.flush();
            System.err.flush();
            System.setOut(out);
            System.setErr(err);
            Map<String, Object> answer = new LinkedHashMap<>();
            answer.put("status", status);
            answer.put("out", said.toString(StandardCharsets.UTF_8));
            answer.put("err", complained.toString(StandardCharsets.UTF_8));
            out.println(json.writeValueAsString(answer));
            out.flush();
        }
        Runtime.getRuntime().halt(0); // hooks of the tools wait for what is over
    }

    static int run(String name, String[] args) throws Exception {
        ended = null;
        hooks.clear();
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) args);
        } catch (InvocationTargetException error) {
            if (ended == null) {
                error.getCause().printStackTrace();
                return 99;
            }
        } finally {
            hooks.forEach(Runnable::run);
        }
        return ended == null ? 0 : ended;
    }
}
