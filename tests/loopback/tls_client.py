"""What Python programs do with the TLS listener: http.client on one connection, requests ahead of answers, small pieces.

    tls_client.py PROXY TARGET AUTHORITY CERTIFICATE KEY     HOST:PORT, a URL, and PEM files

Prints one line for each part that went well; the first that does not ends it with a traceback.
"""

import http.client
import random
import socket
import ssl
import sys

PROXY, TARGET, AUTHORITY, CERTIFICATE, KEY = sys.argv[1:]
HOST, PORT = PROXY.split(":")
HEADERS = {"x-target-host": TARGET}
BODY = random.Random(1).randbytes(300_000)


def expect(expected, found):
    if expected != found:
        raise AssertionError(f"expected {expected!r}, found {found!r}")


def ask(connection, method, path, **rest):
    connection.request(method, path, headers=HEADERS, **rest)
    answer = connection.getresponse()
    return answer.status, answer.read()


def one_connection(context):
    connection = http.client.HTTPSConnection(HOST, int(PORT), context=context, timeout=30)
    connection.connect()
    own = connection.sock.getsockname()
    for _ in range(50):
        expect((200, b"hello"), ask(connection, "GET", "/hello"))
    expect(own, connection.sock.getsockname())
    # The origin answers before it has read everything: that may be the connection's last exchange.
    expect((200, BODY), ask(connection, "POST", "/echo", body=BODY))


def connect(context):
    plain = socket.create_connection((HOST, int(PORT)), timeout=30)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain, server_hostname=HOST)


def request(method, path, *lines):
    head = [f"{method} {path} HTTP/1.1", "Host: proxy", f"x-target-host: {TARGET}", *lines, "", ""]
    return "\r\n".join(head).encode()


def read_to_end(stream):
    return b"".join(iter(lambda: stream.recv(65536), b""))


def ahead(context):
    """A hundred requests in one write, the last of them closes; what comes back ends with close_notify."""
    with connect(context) as stream:
        last = request("GET", "/hello", "Connection: close")
        stream.sendall(request("GET", "/hello") * 99 + last)
        found = read_to_end(stream)
    expect(100, found.count(b"HTTP/1.1 200 OK\r\n"))
    expect(100, found.count(b"\r\n\r\nhello"))


def small_pieces(context):
    """Every byte in a record of its own."""
    with connect(context) as stream:
        for byte in request("POST", "/echo", "Content-Length: 20", "Connection: close") + b"0123456789" * 2:
            stream.sendall(bytes([byte]))
        found = read_to_end(stream)
    expect(b"0123456789" * 2, found[-20:])


def main():
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=AUTHORITY)
        context.load_cert_chain(CERTIFICATE, KEY)
        context.minimum_version = context.maximum_version = version
        # An end without close_notify would be an error.
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        name = version.name.replace("TLSv1_", "TLSv1.")
        one_connection(context)
        print(name, "one connection")
        ahead(context)
        print(name, "requests ahead of their answers")
        small_pieces(context)
        print(name, "small pieces")


main()
