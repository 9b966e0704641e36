import java.net.Authenticator;
import java.net.InetSocketAddress;
import java.net.PasswordAuthentication;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;

/** What Java programs do with a proxy that asks for a password: absolute-form and CONNECT. */
class ProxyClient {
    public static void main(String[] words) throws Exception {
        int port = Integer.parseInt(words[0]);
        HttpClient client = client(port, "right");
        expect(200, client, words[1]);
        System.out.println("absolute");
        expect(200, client, words[2]);
        System.out.println("CONNECT");
        try {
            expect(407, client(port, "wrong"), words[1]);
        } catch (java.io.IOException tooManyTries) {
            if (!String.valueOf(tooManyTries.getMessage()).contains("too many authentication attempts")) throw tooManyTries;
        }
        System.out.println("wrong password");
    }

    static HttpClient client(int port, String password) {
        return HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .proxy(ProxySelector.of(new InetSocketAddress("127.0.0.1", port)))
            .authenticator(new Authenticator() {
                @Override
                protected PasswordAuthentication getPasswordAuthentication() {
                    return new PasswordAuthentication("ada", password.toCharArray());
                }
            })
            .build();
    }

    static void expect(int status, HttpClient client, String url) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(60)).build();
        var answer = client.send(request, BodyHandlers.ofString());
        if (answer.statusCode() != status || status == 200 && !answer.body().equals("a page\n")) {
            throw new AssertionError(answer.statusCode() + " " + answer.body());
        }
    }
}
