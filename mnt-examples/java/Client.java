import java.io.IOException;
import java.io.RandomAccessFile;
import java.util.List;

/** Asks the service SERVICE for a sum, a number at a time. */
class Client {
    public static void main(String[] args) throws IOException {
        // Our own connection. A RandomAccessFile has no buffer: a write is one message and a read is one message.
        try (var sum = new RandomAccessFile(args[0] + "/connect", "rw")) {
            var answer = new byte[4096];
            for (var number : List.of("3", "4", "five", "5")) {
                sum.write((number + "\n").getBytes());
                int size = sum.read(answer); // waits for it
                if (size < 0) throw new IOException("the server is gone");
                System.out.print(number + " -> " + new String(answer, 0, size));
            }
        }
    }
}
