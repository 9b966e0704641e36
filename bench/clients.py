"""The clients of a measurement and what they see: wrk and h2load in plain text, the load of bench/load, windows.

Knows command lines and output of the load generators; nothing of parts or reports.
"""

import re
import subprocess
import time
from dataclasses import dataclass

from peers import LOAD_CORE, ROOT, NotMeasured

CLIENTS = 64


@dataclass
class Sample:
    """One timed window of one peer."""

    cpu_us: float  # CPU microseconds of the proxy per request
    rate: float  # requests a second
    p50_us: float
    p99_us: float
    sleeps: float  # times the proxy went to sleep, per request
    waited: float  # share of the window in which the proxy was runnable but not running
    rss_bytes: int


def output(*command, **options):
    """What a command prints on both streams, stripped; `NotMeasured` when it fails."""
    done = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    if done.returncode:
        raise NotMeasured(f"{command[0]} ended with status {done.returncode}: {done.stdout.strip()[-500:]}")
    return done.stdout.strip()


def header_arguments(stage):
    """The target header as wrk and h2load want it; every peer gets the same request."""
    return [word for name, value in stage.headers.items() for word in ("-H", f"{name}: {value}")]


def wrk(stage, process, role, seconds, core=LOAD_CORE, threads=1):
    """One run of wrk: requests, requests a second, p50 and p99 in microseconds. Any failed request is an error."""
    pin = ["taskset", "-c", core] if core is not None else []
    load = ["wrk", f"-t{threads}", f"-c{CLIENTS}", f"-d{seconds}s", "--timeout", "10s", "--latency", *header_arguments(stage)]
    if process.prefix:
        # The script is read after the address, and what it leaves in wrk.path is what is asked for.
        script = stage.folder / f"{process.port}.lua"
        script.write_text(f'wrk.path = "{process.prefix}/{role}"\nwrk.headers.Host = "{process.prefix[7:]}"\n')
        load += ["-s", script]
    text = output(*pin, *load, f"http://127.0.0.1:{process.port}/{role}")
    if faults := re.findall(r"^\s*(?:Socket errors|Non-2xx).*", text, re.M):
        raise NotMeasured(f"{process.name}, {role}: {faults[0].strip()}")
    units = {"us": 1, "ms": 1e3, "s": 1e6}
    latency = {at: float(value) * units[unit] for at, value, unit in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s)\b", text)}
    requests = int(re.search(r"(\d+) requests in", text)[1])
    rate = float(re.search(r"Requests/sec:\s*([\d.]+)", text)[1])
    return requests, rate, latency["50"], latency["99"]


class Crowd:
    """The connections of one run of bench/load; a context manager that ends them and fails if one was lost."""

    def __init__(self, stage, process, mode, count, targets=None):
        """Opens `count` connections, each of which makes one request; every request names one of the targets in turn."""
        targets = targets or [stage.headers["x-target-host"]]
        command = [ROOT / "target/release/load", mode, count, process.port, "/1k", stage.pki, *(f"x-target-host: {target}" for target in targets)]
        self.what = f"{process.name}: load {mode}"
        self.child = subprocess.Popen(
            ["taskset", "-c", *map(str, [LOAD_CORE, *command])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        if self.child.stdout.readline() != "open\n":
            self.close()

    def __enter__(self):
        return self

    def __exit__(self, fault, *_):
        if fault:
            self.child.kill()
            self.child.communicate()
        else:
            self.close()

    def window(self, seconds):
        """Keeps them busy for so long; the load's figures, as a dictionary."""
        try:
            self.child.stdin.write(f"{seconds}\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            self.close()
        line = self.child.stdout.readline()
        if not line:
            self.close()
        return {name: float(value) for name, value in (word.split("=") for word in line.split())}

    def close(self):
        """Ends them; `NotMeasured` when something went wrong."""
        _, errors = self.child.communicate()
        if self.child.returncode:
            raise NotMeasured(f"{self.what}: {errors.strip()[-500:]}")


def window(stage, process, role, seconds, **load):
    """A warm-up of wrk, then a timed window of it."""
    wrk(stage, process, role, 1, **load)
    return timed(process, lambda: wrk(stage, process, role, seconds, **load))


def rounds(processes, count):
    """Every peer once a round, each round beginning with another one."""
    for round_number in range(count):
        shift = round_number % len(processes)
        yield from processes[shift:] + processes[:shift]


def crowd_window(crowd, process, seconds):
    """A timed window of connections that are open already, and the load's figures."""
    figures = {}

    def exchanges():
        figures.update(crowd.window(seconds))
        return figures["exchanges"], figures["exchanges"] / figures["seconds"], figures["p50_us"], figures["p99_us"]

    return timed(process, exchanges), figures


def timed(process, load):
    """Runs a load with the counters of the proxy read at both ends."""
    (cpu, waited), sleeps, begin = process.cpu_ns(), process.sleeps(), time.perf_counter()
    requests, rate, p50, p99 = load()
    (cpu_end, waited_end), elapsed_ns = process.cpu_ns(), (time.perf_counter() - begin) * 1e9
    return Sample(
        cpu_us=(cpu_end - cpu) / requests / 1e3,
        rate=rate,
        p50_us=p50,
        p99_us=p99,
        sleeps=(process.sleeps() - sleeps) / requests,
        waited=(waited_end - waited) / elapsed_ns,
        rss_bytes=process.rss_bytes(),
    )
