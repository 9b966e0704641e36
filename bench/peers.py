"""Who is measured: the processes under test and the origin, started on free ports and ended by pid.

Knows command lines, templates and /proc; knows nothing of load or of reports. Starts only its own processes and ends
only those.
"""

import hashlib
import http.client
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "bench/conf"
PROXY_CORE, LOAD_CORE = 0, 1
BODIES = {"1k": 1024, "64k": 64 * 1024, "1m": 1024 * 1024}
OURS, RELAY, NGINX, FIXED, SETDST = "apim-proxy", "relay", "nginx", "haproxy fixed", "haproxy set-dst"
PEERS = [OURS, RELAY, NGINX, FIXED, SETDST]


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
    words |= {"clients_max": min(9000, files_max // 2 - 200), "files_max": min(20000, files_max)}
    text = (CONF / template).read_text()
    for word, value in words.items():
        text = text.replace(f"@{word.upper()}@", str(value))
    path = folder / f"{words['port']}-{template}"
    path.write_text(text)
    return path


class Process:
    """One server under measurement, with its children and threads."""

    def __init__(self, name, command, port, core, folder):
        """Starts `command`, pinned to `core` unless that is None; output goes to a log of its own."""
        self.name, self.port, self.log = name, port, folder / f"{port}.log"
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
        """Waits until it answers 200; milliseconds since it was started. `NotMeasured` if it never does."""
        request = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"GET /1k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{request}\r\n".encode()
        while time.perf_counter() < self.started_at + seconds and self.child.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as probe:
                    probe.sendall(request)
                    if probe.recv(64).startswith(b"HTTP/1.1 200"):
                        return (time.perf_counter() - self.started_at) * 1000
            except OSError:
                continue
        status = self.child.poll()
        how = f"did not answer 200 within {seconds:.0f} s" if status is None else f"ended with status {status}"
        raise NotMeasured(f"{self.name} {how}: {self.log.read_text(errors='replace')[-500:].strip() or 'no output'}")

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

    def _launch(self, name, command, port, core):
        process = Process(name, command, port, core, self.folder)
        self.running.append(process)
        return process

    def _nginx(self, template, **words):
        conf = render(template, self.folder, **words)
        return ["nginx", "-p", self.folder, "-e", self.folder / "nginx-start.log", "-c", conf]

    def origin(self, core=LOAD_CORE, workers=1):
        """Starts the origin and waits for it."""
        port = free_port()
        command = self._nginx("origin.conf", port=port, workers=workers, body_1k="x" * BODIES["1k"])
        self.origin_process = self._launch("origin", command, port, core)
        self.origin_process.await_answer({})
        self.headers = {"x-target-host": f"http://127.0.0.1:{port}"}

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
            command = self._nginx("nginx.conf", port=port, origin=origin, workers=workers, reuseport=reuseport)
        else:
            template = "haproxy-fixed.cfg" if name == FIXED else "haproxy-setdst.cfg"
            command = ["haproxy", "-db", "-f", render(template, self.folder, port=port, origin=origin)]
        return self._launch(name, command, port, core)

    def serve(self, names, bodies=("1k",), **options):
        """Starts peers, checks that each passes the bodies on unchanged, and returns them in order."""
        processes = [self.start(name, **options) for name in names]
        for process in processes:
            process.await_answer(self.headers)
            for role in bodies:
                if self._digest(process.port, role) != self._digest(self.origin_process.port, role):
                    raise NotMeasured(f"{process.name} changed the {role} body")
        return processes

    def _digest(self, port, role):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", f"/{role}", headers=self.headers)
        answer = connection.getresponse()
        digest = (answer.status, hashlib.sha256(answer.read()).hexdigest())
        connection.close()
        return digest


def say(text):
    """Progress, on the error stream: the report has the other one."""
    print(text, file=sys.stderr, flush=True)
