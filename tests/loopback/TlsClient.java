import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.util.Arrays;
import java.util.Random;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * What Java programs do with the TLS listener, in both versions of TLS: keep-alive and bodies, sessions resumed, and no
 * certificate. Prints one line for each part that went well and ends with 1 at the first that did not.
 *
 * <p>TlsClient KEYS TRUST PASSWORD PROXY TARGET
 */
public class TlsClient {
    static String proxy;
    static String target;
    static final byte[] BODY = new byte[300_000];

    public static void main(String[] words) throws Exception {
        char[] password = words[2].toCharArray();
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(store(words[0], password), password);
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store(words[1], password));
        proxy = words[3];
        target = words[4];
        new Random(1).nextBytes(BODY);
        for (String version : new String[] {"TLSv1.2", "TLSv1.3"}) {
            SSLContext context = context(version, keys.getKeyManagers(), trust);
            for (int i = 0; i < 20; i++) {
                expect("CN=a server", new String(ask(context, "/who", null)).split(" ", 2)[1]);
            }
            expect(BODY, ask(context, "/", BODY));
            System.out.println(version + " HttpsURLConnection");
            long first = session(context, version);
            long second = session(context, version);
            // A resumed session is as old as the one it resumes.
            expect(String.valueOf(first), String.valueOf(second));
            System.out.println(version + " SSLSocket resumed");
        }
        // Its default version is HTTP/2, by ALPN: the listener has none.
        SSLContext both = context("TLS", keys.getKeyManagers(), trust);
        HttpClient client = HttpClient.newBuilder().sslContext(both).build();
        HttpRequest request =
                HttpRequest.newBuilder(URI.create(proxy + "/"))
                        .header("x-target-host", target)
                        .POST(HttpRequest.BodyPublishers.ofByteArray(BODY))
                        .build();
        HttpResponse<byte[]> answer = client.send(request, HttpResponse.BodyHandlers.ofByteArray());
        expect(BODY, answer.body());
        System.out.println("HttpClient " + answer.version());
        try {
            ask(context("TLS", null, trust), "/who", null);
            throw new AssertionError("a client without a certificate was served");
        } catch (IOException expected) {
            System.out.println("no certificate refused");
        }
        System.exit(0);
    }

    /** One request on a connection of its own; when its session was created. */
    static long session(SSLContext context, String version) throws Exception {
        URI address = URI.create(proxy);
        try (SSLSocket socket =
                (SSLSocket) context.getSocketFactory().createSocket(address.getHost(), address.getPort())) {
            socket.setEnabledProtocols(new String[] {version});
            socket.startHandshake();
            String request = "GET / HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n";
            socket.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
            // TLS 1.3 gives the ticket with the answer.
            String answer = new String(socket.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
            expect("HTTP/1.1 403 Forbidden", answer.split("\r\n")[0]);
            expect(version, socket.getSession().getProtocol());
            return socket.getSession().getCreationTime();
        }
    }

    static byte[] ask(SSLContext context, String path, byte[] body) throws Exception {
        HttpsURLConnection connection = (HttpsURLConnection) new URL(proxy + path).openConnection();
        connection.setSSLSocketFactory(context.getSocketFactory());
        connection.setRequestProperty("x-target-host", target);
        if (body != null) {
            connection.setDoOutput(true);
            connection.setFixedLengthStreamingMode(body.length);
            try (OutputStream out = connection.getOutputStream()) {
                out.write(body);
            }
        }
        try (InputStream in = connection.getInputStream()) {
            return in.readAllBytes();
        }
    }

    static SSLContext context(String version, KeyManager[] keys, TrustManagerFactory trust) throws Exception {
        SSLContext context = SSLContext.getInstance(version);
        context.init(keys, trust.getTrustManagers(), null);
        return context;
    }

    static KeyStore store(String file, char[] password) throws Exception {
        KeyStore store = KeyStore.getInstance("JKS");
        try (FileInputStream in = new FileInputStream(file)) {
            store.load(in, password);
        }
        return store;
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
