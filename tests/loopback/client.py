"""What Python programs do with the proxy: http.client on one connection, chunks, and requests sent ahead of answers.

    client.py PROXY ORIGIN PIPELINE-ORIGIN     each HOST:PORT

Prints one line for each part that went well; the first that does not ends it with a traceback.
"""

import http.client
import random
import socket
import sys

PROXY, ORIGIN, OTHER = sys.argv[1:]
HEADERS = {"x-target-host": f"http://{ORIGIN}"}
BODY = random.Random(1).randbytes(300_000)


def expect(expected, found):
    if expected != found:
        raise AssertionError(f"expected {expected!r}, found {found!r}")


def ask(connection, method, path, **rest):
    connection.request(method, path, headers=HEADERS, **rest)
    answer = connection.getresponse()
    return answer.status, answer.read()


def main():
    connection = http.client.HTTPConnection(PROXY)
    connection.connect()
    own = connection.sock.getsockname()
    for _ in range(100):
        expect((200, b"hello"), ask(connection, "GET", "/hello"))
    expect((200, BODY), ask(connection, "POST", "/echo", body=BODY))
    connection.connect()
    own = connection.sock.getsockname()
    expect((200, b""), ask(connection, "POST", "/echo", body=b""))
    for _ in range(10):
        expect((200, b"hello"), ask(connection, "GET", "/hello"))
    expect(own, connection.sock.getsockname())
    print("one connection")

    parts = (BODY[at : at + 1000] for at in range(0, len(BODY), 1000))
    expect((200, BODY), ask(connection, "POST", "/echo", body=parts, encode_chunked=True))
    print("chunks")

    host, port = PROXY.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as stream:
        requests = [
            f"GET /{n} HTTP/1.1\r\nHost: proxy\r\nx-target-host: http://{OTHER}\r\n\r\n" for n in range(100)
        ]
        stream.sendall("".join(requests).encode())
        stream.shutdown(socket.SHUT_WR)
        found = b"".join(iter(lambda: stream.recv(65536), b""))
    answers = [f"HTTP/1.1 200 OK\r\nContent-Length: {len(str(n)) + 1}\r\n\r\n/{n}" for n in range(100)]
    expect("".join(answers).encode(), found)
    print("requests ahead of their answers")


main()
