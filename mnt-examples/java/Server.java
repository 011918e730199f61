import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.RandomAccessFile;

/** Serves SERVICE, four clients at once: each message is a number, the answer the sum of this client's numbers. */
class Server {
    public static void main(String[] args) {
        for (int i = 0; i < 4; i++) new Thread(() -> clerk(args[0] + "/accept")).start();
    }

    /** Serves one client after the other, until the service is removed. */
    private static void clerk(String accept) {
        while (true) {
            try (var client = new RandomAccessFile(accept, "rw")) {
                serve(client);
            } catch (FileNotFoundException removed) {
                return;
            } catch (IOException gone) {
                // The client was killed, or did not wait for its answer.
            }
        }
    }

    private static void serve(RandomAccessFile client) throws IOException {
        long sum = 0;
        var request = new byte[4096];
        // The first read waits for a client, the next for its messages; -1 when it has closed its end.
        for (int size; (size = client.read(request)) > 0; ) {
            var text = new String(request, 0, size).strip();
            var answer = text.matches("[0-9]{1,18}") ? Long.toString(sum += Long.parseLong(text)) : "not a number";
            client.write((answer + "\n").getBytes());
        }
    }
}
