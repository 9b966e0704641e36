"""What Python programs do with a proxy that they know as one: urllib, requests and websockets.

    forms_client.py PROXY-URL PLAIN-URL SECURE-URL ROOT WEBSOCKET-ORIGIN

Prints one line for each part that went well; the first that does not ends it with a traceback.
"""

import asyncio
import random
import socket
import ssl
import sys
import urllib.parse
import urllib.request

import requests
import websockets

PROXY, PLAIN, SECURE, ROOT, ORIGIN = sys.argv[1:]
ADDRESS = urllib.parse.urlsplit(PROXY)
PROXIES = {"http": PROXY, "https": PROXY}


def expect(expected, found):
    if expected != found:
        raise AssertionError(f"expected {expected!r}, found {found!r}")


def by_urllib(url):
    secure = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ROOT))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(PROXIES), secure)
    expect(b"a page\n", opener.open(url, timeout=60).read())


async def talk(url, **more):
    async with websockets.connect(url, max_size=None, **more) as peer:
        for size in (0, 1, 70_000, 1_000_000):
            message = random.Random(size).randbytes(size)
            await peer.send(message)
            expect(message, await peer.recv())
        await peer.close(code=1000, reason="done")
    expect((1000, "done"), (peer.close_code, peer.close_reason))


def tunnel():
    stream = socket.create_connection((ADDRESS.hostname, ADDRESS.port), timeout=60)
    stream.sendall(f"CONNECT {ORIGIN} HTTP/1.1\r\nHost: {ORIGIN}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += stream.recv(1)
    expect(b"HTTP/1.1 200 Connection established\r\n\r\n", head)
    return stream


def main():
    by_urllib(PLAIN)
    print("urllib absolute")
    by_urllib(SECURE)
    print("urllib CONNECT")
    with requests.Session() as session:
        session.trust_env = False
        expect("a page\n", session.get(PLAIN, proxies=PROXIES, timeout=60).text)
        print("requests absolute")
        for _ in range(2):
            expect("a page\n", session.get(SECURE, proxies=PROXIES, verify=ROOT, timeout=60).text)
        print("requests CONNECT")
    header = {"x-target-host": f"http://{ORIGIN}"}
    url = f"ws://{ADDRESS.netloc}/"
    asyncio.run(talk(url, extra_headers=header))
    print("websockets x-target-host")
    asyncio.run(talk(f"ws://{ORIGIN}/", sock=tunnel()))
    print("websockets CONNECT")


main()
