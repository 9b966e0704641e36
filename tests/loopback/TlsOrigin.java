import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsExchange;
import com.sun.net.httpserver.HttpsParameters;
import com.sun.net.httpserver.HttpsServer;
import java.io.FileInputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.security.KeyStore;
import java.util.concurrent.Executors;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * An HTTPS server of Java's that needs a certificate. It answers /who with the version of TLS and the client's subject, and
 * anything else with the body it got. A second one, of sockets, says in an alert why it refuses a client.
 *
 * <p>TlsOrigin KEYS TRUST PASSWORD; prints "ports N N" when both serve.
 */
public class TlsOrigin {
    public static void main(String[] words) throws Exception {
        SSLContext context = context(words[0], words[1], words[2].toCharArray());
        HttpsServer server = HttpsServer.create(new InetSocketAddress("127.0.0.1", 0), 128);
        server.setHttpsConfigurator(
                new HttpsConfigurator(context) {
                    @Override
                    public void configure(HttpsParameters parameters) {
                        SSLParameters tls = getSSLContext().getDefaultSSLParameters();
                        tls.setNeedClientAuth(true);
                        parameters.setSSLParameters(tls);
                    }
                });
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext(
                "/",
                exchange -> {
                    byte[] body = exchange.getRequestBody().readAllBytes();
                    if (exchange.getRequestURI().getPath().equals("/who")) {
                        var session = ((HttpsExchange) exchange).getSSLSession();
                        body = (session.getProtocol() + " " + session.getPeerPrincipal().getName()).getBytes();
                    }
                    exchange.sendResponseHeaders(200, body.length == 0 ? -1 : body.length);
                    exchange.getResponseBody().write(body);
                    exchange.close();
                });
        server.start();
        SSLServerSocket sockets = (SSLServerSocket) context.getServerSocketFactory().createServerSocket(0, 128);
        sockets.setNeedClientAuth(true);
        System.out.println("ports " + server.getAddress().getPort() + " " + sockets.getLocalPort());
        while (true) {
            try (Socket socket = sockets.accept()) {
                socket.getInputStream().read();
                socket.getOutputStream().write("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".getBytes());
            } catch (IOException refused) {
                // The client has been told.
            }
        }
    }

    static SSLContext context(String keys, String trust, char[] password) throws Exception {
        KeyManagerFactory ours = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        ours.init(store(keys, password), password);
        TrustManagerFactory theirs = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        theirs.init(store(trust, password));
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(ours.getKeyManagers(), theirs.getTrustManagers(), null);
        return context;
    }

    static KeyStore store(String file, char[] password) throws Exception {
        KeyStore store = KeyStore.getInstance("JKS");
        try (FileInputStream in = new FileInputStream(file)) {
            store.load(in, password);
        }
        return store;
    }
}
