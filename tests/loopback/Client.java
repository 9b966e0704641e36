import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Arrays;
import java.util.Random;

/**
 * What Java programs do with the proxy: the old client and the new one, kept-alive connections, bodies of known and
 * unknown length. Prints one line for each part that went well and ends with 1 at the first that did not.
 */
public class Client {
    static String proxy;
    static String origin;
    static final byte[] BODY = new byte[300_000];

    public static void main(String[] words) throws Exception {
        proxy = words[0];
        origin = words[1];
        new Random(1).nextBytes(BODY);
        for (int i = 0; i < 50; i++) {
            expect("hello", new String(old("GET", "/hello", null, 0)));
        }
        System.out.println("HttpURLConnection GET");
        expect(BODY, old("POST", "/echo", BODY, BODY.length));
        System.out.println("HttpURLConnection POST length");
        expect(BODY, old("POST", "/echo", BODY, -1));
        System.out.println("HttpURLConnection POST chunked");
        HttpURLConnection refused = (HttpURLConnection) new URL(proxy + "/").openConnection();
        expect("403 target_missing", refused.getResponseCode() + " " + refused.getHeaderField("X-Proxy-Error"));
        System.out.println("HttpURLConnection refusal");

        // Its default version is HTTP/2: over plain HTTP it asks for an upgrade, which goes no further than the proxy.
        HttpClient client = HttpClient.newHttpClient();
        for (int i = 0; i < 50; i++) {
            HttpResponse<String> answer = client.send(request("/hello").build(), HttpResponse.BodyHandlers.ofString());
            expect("200 hello HTTP_1_1", answer.statusCode() + " " + answer.body() + " " + answer.version());
        }
        System.out.println("HttpClient GET");
        HttpRequest.Builder post = request("/echo").POST(HttpRequest.BodyPublishers.ofByteArray(BODY));
        expect(BODY, client.send(post.build(), HttpResponse.BodyHandlers.ofByteArray()).body());
        System.out.println("HttpClient POST length");
        post = request("/echo").POST(HttpRequest.BodyPublishers.ofInputStream(() -> new java.io.ByteArrayInputStream(BODY)));
        expect(BODY, client.send(post.build(), HttpResponse.BodyHandlers.ofByteArray()).body());
        System.out.println("HttpClient POST chunked");
        post = request("/echo").POST(HttpRequest.BodyPublishers.ofByteArray(BODY)).expectContinue(true);
        post.version(HttpClient.Version.HTTP_1_1);
        expect(BODY, client.send(post.build(), HttpResponse.BodyHandlers.ofByteArray()).body());
        System.out.println("HttpClient POST expecting 100");
        System.exit(0);
    }

    static HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create(proxy + path)).header("x-target-host", origin);
    }

    /** A length of -1 sends chunks. */
    static byte[] old(String method, String path, byte[] body, int length) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) new URL(proxy + path).openConnection();
        connection.setRequestMethod(method);
        connection.setRequestProperty("x-target-host", origin);
        if (body != null) {
            connection.setDoOutput(true);
            if (length < 0) {
                connection.setChunkedStreamingMode(4096);
            } else {
                connection.setFixedLengthStreamingMode(length);
            }
            try (OutputStream out = connection.getOutputStream()) {
                out.write(body);
            }
        }
        try (InputStream in = connection.getInputStream()) {
            return in.readAllBytes();
        }
    }

    static void expect(byte[] expected, byte[] found) {
        if (!Arrays.equals(expected, found)) {
            throw new AssertionError("a body of " + found.length + " bytes is not the one sent");
        }
    }

    static void expect(String expected, String found) {
        if (!expected.equals(found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }
}
