"""The measuring itself: load, windows and counters. Started by bench/run, which installs and builds first.

Each part fills one entry of the results, report.py turns them into Markdown. What a figure means is said in
bench/README.md; a part that cannot be measured is a failure of the run, a slow figure is not.
"""

import argparse
import datetime
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import forms
import report
import tls
from clients import CLIENTS, header_arguments, output, window, wrk
from peers import BODIES, FIXED, LOAD_CORE, NGINX, OURS, PEERS, ROOT, NotMeasured, Stage, say

PARTS = [*BODIES, "syscalls", "idle", "first", "workers", "callgrind", *forms.PARTS, *tls.PARTS]


def role_part(stage, names, role, options):
    """Interleaved rounds over all peers, each round beginning with another one."""
    stage.origin()
    processes = stage.serve(names, bodies=(role,))
    samples = {name: [] for name in names}
    for round_number in range(options.rounds):
        shift = round_number % len(processes)
        for process in processes[shift:] + processes[:shift]:
            sample = window(stage, process, role, options.seconds)
            samples[process.name].append(sample)
            say(f"  {role} round {round_number + 1}: {process.name}: {sample.cpu_us:.2f} us, {sample.rate:.0f}/s")
    stage.clear()
    return samples


def tracer_prefix():
    """sudo where the kernel lets only root attach to a process that is not a descendant (Yama)."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return ["sudo"] if os.geteuid() and scope.exists() and scope.read_text().strip() != "0" else []


def syscalls_part(stage, names, options):
    """System calls per request under `strace -f -c`: its drag saturates the proxy, and h2load counts exactly."""
    stage.origin()
    counts = {}
    requests = 12000 if options.quick else 40000
    for process in stage.serve(names):
        wrk(stage, process, "1k", 1)
        summary = stage.folder / f"{process.port}.strace"
        attach = [word for pid in process.pids() for word in ("-p", str(pid))]
        trace = [*tracer_prefix(), "strace", "-f", "-c", "-U", "calls,name", "-o", str(summary), *attach]
        with subprocess.Popen(trace, stderr=subprocess.PIPE, text=True) as tracer:
            for _ in process.pids():
                if "attached" not in (line := tracer.stderr.readline()):
                    raise NotMeasured(f"strace did not attach to {process.name}: {line.strip()}")
            load = ["h2load", "--h1", f"-n{requests}", f"-c{CLIENTS}", "-t1", *header_arguments(stage)]
            text = output("taskset", "-c", LOAD_CORE, *load, f"http://127.0.0.1:{process.port}/1k")
            stage.stop(process)  # strace ends with its last tracee
            tracer.stderr.read()
        if f"{requests} succeeded" not in text:
            raise NotMeasured(f"{process.name}: h2load: {text[-500:]}")
        calls = re.findall(r"^\s*(\d+)\s+(\w+)$", summary.read_text(), re.M)
        counts[process.name] = {name: int(count) / requests for count, name in calls if name != "total"}
        say(f"  {process.name}: {sum(counts[process.name].values()):.2f} system calls per request")
    stage.clear()
    return counts


def exchange(stage, port):
    """Opens a connection, makes one request and keeps the connection."""
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    lines = "".join(f"{name}: {value}\r\n" for name, value in stage.headers.items())
    client.sendall(f"GET /1k HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0 or len(answer) < end + 4 + BODIES["1k"]:
        more = client.recv(65536)
        if not more:
            raise NotMeasured("a connection closed in the middle of an answer")
        answer += more
    return client


def idle_clients(options):
    """How many idle clients are wanted, and possible with the open files there are."""
    files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return min(500 if options.quick else 5000, files_max // 2 - 400)


def idle_part(stage, names, options):
    """Growth of private memory per keep-alive client that made one request and then fell silent."""
    clients_wanted, memory = idle_clients(options), {}
    for name in names:
        stage.origin()
        (process,) = stage.serve([name])
        warm = [exchange(stage, process.port) for _ in range(CLIENTS)]
        before = process.private_bytes()
        clients = [exchange(stage, process.port) for _ in range(clients_wanted)]
        after = process.private_bytes()
        poll = select.poll()
        for client in clients:
            poll.register(client, select.POLLIN)
        if gone := len(poll.poll(0)):
            raise NotMeasured(f"{name} closed {gone} of {clients_wanted} idle clients while they were counted")
        for client in warm + clients:
            client.close()
        memory[name] = before, after
        say(f"  {name}: {(after - before) / clients_wanted:.0f} bytes per idle client ({clients_wanted} clients)")
        stage.clear()
    return clients_wanted, memory


def first_part(stage, names, options):
    """Milliseconds from the start of a process to its first 200."""
    stage.origin()
    times = {name: [] for name in names}
    for _ in range(3 if options.quick else 10):
        for name in names:
            process = stage.start(name, core=None)
            times[name].append(process.await_answer(stage.headers))
            stage.stop(process)
    stage.clear()
    return times


def workers_part(stage, names, options):
    """Requests a second and CPU per request with one worker and with two, nothing pinned."""
    share = max(2, os.cpu_count() // 2)
    stage.origin(core=None, workers=share)
    runs = {name: {1: [], 2: []} for name in names}
    pairs = [(name, workers, stage.serve([name], core=None, workers=workers)[0]) for name in names for workers in (1, 2)]
    for round_number in range(options.rounds):
        shift = round_number % len(pairs)
        for name, workers, process in pairs[shift:] + pairs[:shift]:
            runs[name][workers].append(window(stage, process, "1k", options.seconds, core=None, threads=share))
    stage.clear()
    return runs


def callgrind_part(folder, options):
    """Instructions per exchange in memory: the difference of two run lengths, so that start-up cancels out."""
    example = ROOT / "target/release/examples/exchange"
    if not example.exists():
        say("  callgrind: skipped, bench/exchange.rs is not there")
        return None
    few, many = (100, 200) if options.quick else (1000, 2000)
    counts = []
    for exchanges in (few, many):
        text = output("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", example, exchanges, cwd=folder)
        counts.append(int(re.search(r"Collected\s*:\s*(\d+)", text)[1]))
    return (counts[1] - counts[0]) / (many - few)


def first_line(*command):
    """The first line a command prints on either stream, or a dash."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError:
        return "-"
    return done.stdout.strip().split("\n")[0]


def locked(crate):
    """The version of a crate the product is built with."""
    found = re.search(rf'^name = "{crate}"\nversion = "(.*)"', (ROOT / "Cargo.lock").read_text(), re.M)
    return found[1] if found else "-"


def environment():
    """What ran where: rows for the report."""
    git = ["git", "-C", str(ROOT)]
    commit = first_line(*git, "describe", "--always", "--dirty", "--exclude=*")
    model = re.search(r"^(?:model name|CPU part)\s*:\s*(.*)", Path("/proc/cpuinfo").read_text(), re.M)
    system = re.search(r'^PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_text(), re.M)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "apim-proxy": commit,
        "processor": f"{model[1] if model else os.uname().machine}, {os.cpu_count()} cores",
        "kernel": f"{os.uname().release}, {system[1] if system else 'unknown system'}",
        "load before the run": f"{os.getloadavg()[0]:.2f}",
        "rustc": first_line("rustc", "--version"),
        "nginx": first_line("nginx", "-v").removeprefix("nginx version: "),
        "HAProxy": first_line("haproxy", "-v").split(" - ")[0].removeprefix("HAProxy version "),
        "Squid": first_line("squid", "-v").removeprefix("Squid Cache: Version "),
        "Apache httpd": first_line("apache2", "-v").removeprefix("Server version: Apache/"),
        "wrk": first_line("wrk", "-v").split(" Copyright")[0],
        "h2load": first_line("h2load", "--version"),
        "strace": first_line("strace", "-V"),
        "valgrind": first_line("valgrind", "--version"),
        "OpenSSL (nginx, HAProxy)": first_line("openssl", "version").split(" (")[0].removeprefix("OpenSSL "),
        "rustls": locked("rustls"),
        "aws-lc-rs": locked("aws-lc-rs"),
    }


def measure(stage, options):
    """All wanted parts, in order; returns the results for the report."""
    names, results = list(PEERS), {"environment": environment(), "rounds": options.rounds, "seconds": options.seconds}
    stage.origin()
    try:
        stage.serve([OURS])
    except (NotMeasured, OSError) as reason:
        say(f"apim-proxy is left out: {reason}")
        names.remove(OURS)
    stage.clear()
    results["ours"] = OURS in names
    known = [name for name in names if name in (OURS, NGINX, FIXED)]
    parts = {
        "syscalls": lambda: syscalls_part(stage, names, options),
        "idle": lambda: idle_part(stage, known, options),
        "first": lambda: first_part(stage, known, options),
        "workers": lambda: workers_part(stage, [name for name in names if name in (OURS, NGINX)], options),
        "callgrind": lambda: callgrind_part(stage.folder, options),
        "handshakes": lambda: tls.handshakes_part(stage, options),
        "idle-tls": lambda: tls.idle_part(stage, idle_clients(options)),
        "reuse": lambda: tls.reuse_part(stage, options),
    }
    parts |= {form: lambda form=form: forms.role_part(stage, form, options) for form in ("absolute", "reverse", "debug")}
    parts["tunnel"] = lambda: forms.tunnel_part(stage, options)
    parts |= {role: lambda role=role: tls.role_part(stage, role, options) for role in tls.ROLES}
    for part in options.only:
        say(f"{part}:")
        results[part] = role_part(stage, names, part, options) if part in BODIES else parts[part]()
    return results


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench/run", description="Measures apim-proxy against a bare relay, nginx, HAProxy, Squid and Apache httpd.")
    parser.add_argument("--rounds", type=int, help="rounds of each role (default 5)")
    parser.add_argument("--seconds", type=int, help="length of a timed window (default 4)")
    parser.add_argument("--quick", action="store_true", help="a smoke run of about a minute; writes no RESULTS.md")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run, of {','.join(PARTS)}; writes no RESULTS.md")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 4)
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    return options


def main():
    """Measures, prints the report, writes it after a whole run; the exit status says whether all was measured."""
    options = arguments()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="apim-proxy-bench-"))
    try:
        with Stage(folder) as stage:
            results = measure(stage, options)
    except NotMeasured as reason:
        sys.exit(f"bench/run: not measured: {reason}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = report.markdown(results)
    print(text)
    if not results["ours"]:
        sys.exit("bench/run: apim-proxy did not answer and was not measured")
    if without := report.left_out(results):
        sys.exit(f"bench/run: apim-proxy was not measured in {', '.join(without)}")
    if options.only == PARTS and not options.quick:
        (ROOT / "bench/RESULTS.md").write_text(text)
        say("written: bench/RESULTS.md")


if __name__ == "__main__":
    main()
