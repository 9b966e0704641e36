"""An origin with bad manners, chosen by the path of each request. Prints two ports, then serves until it is ended.

    rude_origin.py [CERTIFICATE KEY [AUTHORITIES]]

The second port speaks TLS if there is a certificate; with authorities, clients need one of theirs.

Every answer names the connection it came on (X-Connection: n, counted from 1), so that a test can tell whether a
connection was used again.
"""

import itertools
import socket
import ssl
import struct
import sys
import threading

GO = threading.Event()
# Bytes of each body that came after its answer.
TOTAL = []
COUNT = itertools.count(1)


def head(number, *lines):
    return "\r\n".join(["HTTP/1.1 200 OK", f"X-Connection: {number}", *lines, "", ""]).encode()


def polite(number, body):
    return head(number, f"Content-Length: {len(body)}") + body


class Connection:
    def __init__(self, stream, number):
        self.stream, self.number = stream, number
        self.reader = stream.makefile("rb")

    def serve(self):
        while True:
            line = self.reader.readline()
            if not line:
                return
            self.headers = {}
            while (header := self.reader.readline()) not in (b"\r\n", b""):
                name, _, value = header.decode("latin-1").partition(":")
                self.headers[name.lower()] = value.strip()
            manner = line.split()[1].decode().split("?")[0].strip("/").replace("-", "_")
            if getattr(self, manner)() is False:
                return

    def body(self):
        """The request's body, part by part."""
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.reader.readline(), 16):
                yield self.reader.read(size)
                self.reader.readline()
            self.reader.readline()
            return
        left = int(self.headers.get("content-length", 0))
        while left:
            part = self.reader.read(min(left, 65536))
            if not part:
                raise ConnectionError("the request was cut off")
            left -= len(part)
            yield part

    def say(self, data):
        self.stream.sendall(data)

    def reset(self):
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    # Good manners, to compare with.

    def hello(self):
        self.say(polite(self.number, b"hello"))

    def echo(self):
        if "expect" in self.headers:
            self.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "content-length" in self.headers:
            self.say(head(self.number, f"Content-Length: {self.headers['content-length']}"))
            for part in self.body():
                self.say(part)
            return
        self.say(head(self.number, "Transfer-Encoding: chunked"))
        for part in self.body():
            self.say(b"%x\r\n%s\r\n" % (len(part), part))
        self.say(b"0\r\n\r\n")

    def go(self):
        GO.set()
        self.say(polite(self.number, b""))
        return False

    def peer(self):
        """Version of TLS and common name of the client, and whether the session was resumed."""
        names = [value for part in (self.stream.getpeercert() or {}).get("subject", ()) for _, value in part]
        resumed = "resumed" if self.stream.session_reused else "full"
        self.say(polite(self.number, " ".join([self.stream.version(), *names, resumed]).encode()))

    # Endings.

    def reset_before(self):
        return self.reset()

    def close_before(self):
        return False

    def reset_mid(self):
        self.say(head(self.number, "Content-Length: 1000000") + b"x" * 1000)
        GO.wait()
        return self.reset()

    def close_mid(self):
        self.say(head(self.number, "Content-Length: 1000000") + b"x" * 1000)
        return False

    def close_in_chunk(self):
        self.say(head(self.number, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n5\r\nhe")
        return False

    def idle_close(self):
        self.say(polite(self.number, b"hello"))
        return False

    def until_close(self):
        self.say(head(self.number) + b"hello")
        return False

    def until_close_notify(self):
        self.say(head(self.number) + b"hello")
        self.stream.unwrap().close()
        return False

    # Silence.

    def silent(self):
        GO.wait()
        return False

    def silent_mid(self):
        self.say(head(self.number, "Content-Length: 10") + b"hello")
        GO.wait()
        return False

    def deaf(self):
        GO.wait()
        return False

    # Answers out of turn.

    def early(self):
        self.say(polite(self.number, b"early"))
        TOTAL.append(sum(map(len, self.body())))
        return False

    def total(self):
        self.say(polite(self.number, str(sum(TOTAL)).encode()))

    def early_close(self):
        self.say(head(self.number, "Content-Length: 5", "Connection: close") + b"early")
        return False

    def garbage_after(self):
        self.say(polite(self.number, b"hello") + polite(self.number, b"POISON"))

    def garbage_later(self):
        self.say(polite(self.number, b"hello"))
        GO.wait()
        self.say(polite(self.number, b"POISON"))

    def interims(self):
        self.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + polite(self.number, b"hello"))

    def interim_flood(self):
        self.say(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)
        return False

    # Nonsense.

    def huge_head(self):
        self.say(head(self.number, "X-Huge: " + "x" * 70000, "Content-Length: 0"))

    def many_headers(self):
        self.say(head(self.number, *[f"X-{n}: x" for n in range(150)], "Content-Length: 0"))

    def two_lengths(self):
        self.say(head(self.number, "Content-Length: 5", "Content-Length: 6") + b"hello!")

    def length_and_chunks(self):
        self.say(head(self.number, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n")

    def negative_length(self):
        self.say(head(self.number, "Content-Length: -1") + b"hello")

    def other_protocol(self):
        self.say(b"220 mail.example ESMTP\r\n")
        return False

    def dribble(self):
        for byte in polite(self.number, b"hello"):
            self.say(bytes([byte]))


def serve(stream, context):
    try:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            stream = context.wrap_socket(stream, server_side=True)
        # Closing does not say so in TLS: only unwrap() does.
        Connection(stream, next(COUNT)).serve()
    except OSError:
        pass
    finally:
        stream.close()


def tls(certificate, key, authorities=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if authorities:
        context.load_verify_locations(authorities)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def listen(listener, context):
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=serve, args=(stream, context), daemon=True).start()


def main():
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(2)]
    context = tls(*sys.argv[1:]) if sys.argv[1:] else None
    print(*[listener.getsockname()[1] for listener in listeners], flush=True)
    threading.Thread(target=listen, args=(listeners[1], context), daemon=True).start()
    listen(listeners[0], None)


main()
