"""Who is measured: the processes under test and the origin, started on free ports and ended by pid.

Knows command lines, templates and /proc; knows nothing of load or of reports. Starts only its own processes and ends
only those.
"""

import contextlib
import hashlib
import http.client
import os
import random
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pki

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "bench/conf"
PROXY_CORE, LOAD_CORE = 0, 1
BODIES = {"1k": 1024, "64k": 64 * 1024, "1m": 1024 * 1024}
OURS, RELAY, NGINX, FIXED, SETDST = "apim-proxy", "relay", "nginx", "haproxy fixed", "haproxy set-dst"
PEERS = [OURS, RELAY, NGINX, FIXED, SETDST]
VARIABLE = "nginx variable target"
# What all three proxies and the load agree on if nobody restricts them; pinned so that it stays so.
PROTOCOL, SUITE, GROUP = "TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519"


class NotMeasured(Exception):
    """Something could not be measured; the message says what and why."""


def free_port():
    """A port below the ephemeral range that nobody listens on, found by asking."""
    for _ in range(1000):
        port = random.randrange(10000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise NotMeasured("no free port between 10000 and 32000")


def render(template, folder, **words):
    """Writes a template of bench/conf with its @WORDS@ filled in; returns the path."""
    files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    words |= {"dir": folder, "conf": CONF, "user": "user root;" if os.geteuid() == 0 else ""}
    words |= {"modules": "/usr/lib/apache2/modules", "apache_user": "User www-data\nGroup www-data" if os.geteuid() == 0 else ""}
    words |= {"clients_max": min(9000, files_max // 2 - 200), "files_max": min(20000, files_max)}
    text = (CONF / template).read_text()
    for word, value in words.items():
        text = text.replace(f"@{word.upper()}@", str(value))
    path = folder / f"{words['port']}-{template}"
    path.write_text(text)
    return path


class Process:
    """One server under measurement, with its children and threads."""

    def __init__(self, name, command, port, core, folder, tls=None):
        """Starts `command`, pinned to `core` unless that is None; output goes to a log of its own. `tls` is the context
        its clients use, None where it speaks plain text."""
        self.name, self.port, self.log, self.tls = name, port, folder / f"{port}.log", tls
        # What stands before the path of a request: scheme and authority, in absolute-form.
        self.prefix = ""
        pin = ["taskset", "-c", str(core)] if core is not None else []
        with self.log.open("wb") as log:
            self.started_at = time.perf_counter()
            self.child = subprocess.Popen(
                [*pin, *map(str, command)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
            )

    def pids(self):
        """The process and its children (nginx: master and workers)."""
        found = [self.child.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        return found

    def cpu_ns(self):
        """CPU time and time spent runnable but waiting, of all threads, in nanoseconds."""
        stats = [path.read_text().split() for pid in self.pids() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return sum(int(stat[0]) for stat in stats), sum(int(stat[1]) for stat in stats)

    def sleeps(self):
        """How often its threads went to sleep because there was nothing to do."""
        return sum(self._sum("task/*/status", "voluntary_ctxt_switches:"))

    def rss_bytes(self):
        """Resident memory, shared pages included."""
        return sum(self._sum("status", "VmRSS:")) * 1024

    def private_bytes(self):
        """Memory only this process has and has written to (Private_Dirty)."""
        return sum(self._sum("smaps_rollup", "Private_Dirty:")) * 1024

    def _sum(self, pattern, field):
        for pid in self.pids():
            for path in Path(f"/proc/{pid}").glob(pattern):
                yield from (int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(field))

    def await_answer(self, headers, seconds=10.0):
        """Waits until it answers; milliseconds since it was started. `NotMeasured` if that is not 200, or never."""
        request = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"GET {self.prefix}/1k HTTP/1.1\r\nHost: {self.prefix[7:] or 'localhost'}\r\nConnection: close\r\n{request}\r\n".encode()
        how = ""
        while not how and time.perf_counter() < self.started_at + seconds and self.child.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as plain:
                    with self.tls.wrap_socket(plain, server_hostname="localhost") if self.tls else plain as probe:
                        probe.sendall(request)
                        status = probe.recv(64)
                if status.startswith(b"HTTP/1.1 200"):
                    return (time.perf_counter() - self.started_at) * 1000
                how = "answered " + status.decode(errors="replace").split("\r")[0] if status else ""
            except OSError:
                continue
        status = self.child.poll()
        how = how or (f"did not answer within {seconds:.0f} s" if status is None else f"ended with status {status}")
        output = self.log.read_text(errors="replace").strip().splitlines()[-5:] or ["no output"]
        raise NotMeasured("\n".join([f"{self.name} {how}:", *output]))

    def get(self, path, headers):
        """One GET on a connection of its own: status and body."""
        if self.tls:
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=10, context=self.tls)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", self.prefix + path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def statistics(self):
        """The counters apim-proxy writes to its log on SIGUSR1."""
        before = len(self._statistics())
        self.child.send_signal(signal.SIGUSR1)
        for _ in range(500):
            if len(found := self._statistics()) > before:
                return {name: int(value) for name, value in re.findall(r"(\w+) (\d+)\n", found[-1])}
            time.sleep(0.01)
        raise NotMeasured(f"{self.name} wrote no statistics")

    def _statistics(self):
        return re.findall(r"statistics\n((?:    \w+ .*\n)+?    exchange_micros )", self.log.read_text(errors="replace"))

    def stop(self):
        """SIGTERM, five seconds, SIGKILL. Returns the exit status."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(5)
        except subprocess.TimeoutExpired:
            for pid in self.pids():
                os.kill(pid, signal.SIGKILL)
            return self.child.wait()


class Stage:
    """The origin and whoever is measured against it; a context manager that leaves nothing running."""

    def __init__(self, folder):
        self.folder, self.running = folder, []
        (folder / "scratch").mkdir()
        (folder / "www").mkdir()
        for role, size in BODIES.items():
            (folder / "www" / role).write_bytes(b"x" * size)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.clear()

    def clear(self):
        """Ends everything that was started."""
        while self.running:
            self.running.pop().stop()

    def stop(self, process):
        """Ends one process; returns its exit status."""
        self.running.remove(process)
        return process.stop()

    def launch(self, name, command, port, core, tls=None):
        """Starts a process and keeps it among those that run."""
        process = Process(name, command, port, core, self.folder, tls)
        self.running.append(process)
        return process

    def nginx(self, template, **words):
        """The command line of nginx with a template of bench/conf."""
        conf = render(template, self.folder, **words)
        return ["nginx", "-p", self.folder, "-e", self.folder / "nginx-start.log", "-c", conf]

    def origin(self, core=LOAD_CORE, workers=1):
        """Starts the origin and waits for it."""
        port = free_port()
        command = self.nginx("origin.conf", port=port, workers=workers, body_1k="x" * BODIES["1k"])
        self.origin_process = self.launch("origin", command, port, core)
        self.origin_process.await_answer({})
        self.headers = {"x-target-host": f"http://127.0.0.1:{port}"}

    def origin_tls(self, keys, ports=1):
        """Starts the origin of the TLS measurements, with keys of one kind and on several ports, and waits for it."""
        if not (self.folder / "pki").exists():
            pki.make(self.folder / "pki")
        self.pki = self.folder / "pki" / keys
        self.client_tls = ssl.create_default_context(cafile=self.pki / "ca.pem")
        self.client_tls.load_cert_chain(self.pki / "client.pem")
        ports = [free_port() for _ in range(ports)]
        listen = " ".join(f"listen 127.0.0.1:{port} ssl backlog=8192;" for port in ports)
        words = {"pki": self.pki, "suite": SUITE, "group": GROUP, "listen": listen, "body_1k": "x" * BODIES["1k"]}
        command = self.nginx("origin-tls.conf", port=ports[0], **words)
        self.origin_process = self.launch("origin", command, ports[0], LOAD_CORE, self.client_tls)
        self.origin_process.await_answer({})
        self.targets = [f"https://127.0.0.1:{port}" for port in ports]
        self.headers = {"x-target-host": self.targets[0]}

    def start(self, name, core=PROXY_CORE, workers=1):
        """Starts a peer without waiting for it."""
        port, origin = free_port(), self.origin_process.port
        reuseport = "reuseport" if workers > 1 else ""
        if name == OURS:
            options = {"server.port": port, "server.address": "127.0.0.1", "server.workers": workers}
            options["proxy.target.allow"] = "127.0.0.0/8"
            command = [ROOT / "target/release/apim-proxy", *(f"--{key}={value}" for key, value in options.items())]
        elif name == RELAY:
            command = [ROOT / "target/relay/release/relay", port, origin]
        elif name == NGINX:
            command = self.nginx("nginx.conf", port=port, origin=origin, workers=workers, reuseport=reuseport)
        else:
            template = "haproxy-fixed.cfg" if name == FIXED else "haproxy-setdst.cfg"
            command = ["haproxy", "-db", "-f", render(template, self.folder, port=port, origin=origin)]
        return self.launch(name, command, port, core)

    def start_tls(self, name, mtls_in):
        """Starts a peer with mTLS to the origin, and from clients if wanted, without waiting for it."""
        port, origin = free_port(), self.origin_process.port
        words = {"port": port, "origin": origin, "pki": self.pki, "suite": SUITE, "group": GROUP}
        if name == OURS:
            options = {"server.port": port, "server.address": "127.0.0.1", "server.workers": 1}
            options |= {"server.ssl.enabled": str(mtls_in).lower(), "server.ssl.client-auth": "need"}
            options |= {"server.ssl.certificate": self.pki / "proxy.crt", "server.ssl.trust-certificate": self.pki / "ca.pem"}
            options |= {"server.ssl.certificate-private-key": self.pki / "proxy.key"}
            options |= {"server.ssl.enabled-protocols": PROTOCOL, "server.ssl.ciphers": SUITE}
            options |= {"proxy.ssl.client.tls-version": PROTOCOL, "proxy.target.allow": "127.0.0.1"}
            command = [ROOT / "target/release/apim-proxy", *(f"--{key}={value}" for key, value in options.items())]
        elif name == FIXED:
            listen = f"ssl crt {self.pki}/proxy.pem ca-file {self.pki}/ca.pem verify required ssl-min-ver {PROTOCOL}"
            listen += f" ciphersuites {SUITE} curves {GROUP}"
            conf = render("haproxy-tls.cfg", self.folder, listen_tls=listen if mtls_in else "", **words)
            command = ["haproxy", "-db", "-f", conf]
        else:
            target = "$http_x_target_host" if name == VARIABLE else "https://$up"
            words |= {"pass": target, "listen_tls": "ssl" if mtls_in else ""}
            command = self.nginx("nginx-tls.conf", **words)
        return self.launch(name, command, port, PROXY_CORE, self.client_tls if mtls_in else None)

    def serve(self, names, bodies=("1k",), **options):
        """Starts peers, checks that each passes the bodies on unchanged, and returns them in order."""
        processes = [self.start(name, **options) for name in names]
        for process in processes:
            self._compare(process, bodies)
        return processes

    def serve_tls(self, name, mtls_in=False):
        """Starts a peer with TLS and checks it. Returns it, and what it negotiated with clients and with the origin."""
        process = self.start_tls(name, mtls_in)
        self._compare(process, ["1k"])
        inbound = self._negotiated(process) if mtls_in else "plain"
        _, outbound = process.get("/tls", self.headers)
        if outbound.decode() != f"{PROTOCOL} {SUITE} SUCCESS":
            raise NotMeasured(f"{name} negotiated with the origin: {outbound.decode()}")
        return process, (inbound, outbound.decode().removesuffix(" SUCCESS"))

    def _compare(self, process, bodies):
        process.await_answer(self.headers)
        for role in bodies:
            answers = [of.get(f"/{role}", self.headers) for of in (process, self.origin_process)]
            if len({(status, hashlib.sha256(body).digest()) for status, body in answers}) > 1:
                raise NotMeasured(f"{process.name} changed the {role} body")

    def _negotiated(self, process):
        """Version, suite, group and signature of a TLS listener, by openssl; and no answer without a certificate."""
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{process.port}", "-servername", "localhost", "-CAfile", "ca.pem"]
        command += ["-cert", "client.crt", "-key", "client.key", "-verify_return_error"]
        text = subprocess.run(command, cwd=self.pki, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
        found = [re.search(pattern, text, re.M) for pattern in (
            r"^New, (\S+), Cipher is", r"Cipher is (\S+)$", r"^Server Temp Key: (\w+)", r"^Peer signature type: (\S+)")]
        found = [match[1] if match else "?" for match in found]
        if found[:3] != [PROTOCOL, SUITE, GROUP]:
            raise NotMeasured(f"{process.name} negotiated with a client: {' '.join(found)}")
        stranger = ssl.create_default_context(cafile=self.pki / "ca.pem")
        try:
            process.tls, status = stranger, 0
            status, _ = process.get("/1k", self.headers)
        except OSError:
            pass
        finally:
            process.tls = self.client_tls
        if status == 200:
            raise NotMeasured(f"{process.name} serves clients without a certificate")
        return " ".join(found)


def say(text):
    """Progress, on the error stream: the report has the other one."""
    print(text, file=sys.stderr, flush=True)
