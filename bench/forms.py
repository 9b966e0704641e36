"""The parts that measure the other forms: absolute-form and reverse with and without an access log, tunnels, request logs.

Every peer does the same work: the same request from the same load, to the same origin; where a log is kept, one line a request
in a file (combined, or the nearest the peer has).
"""

import hashlib
import subprocess
import time

from clients import rounds, timed, window
from peers import FIXED, LOAD_CORE, NGINX, OURS, PROXY_CORE, ROOT, NotMeasured, free_port, render, say

SQUID, APACHE = "squid", "apache2"
LOGGED = ", log"
ABSOLUTE = [OURS, SQUID, NGINX, FIXED]
REVERSE = [OURS, NGINX, FIXED, APACHE]
TUNNEL = [OURS, SQUID, FIXED]
DEBUG = [OURS, OURS + ", RestTemplate=DEBUG", OURS + ", RestTemplate=DEBUG, log"]
PARTS = ["absolute", "reverse", "tunnel", "debug"]
# A sparse file, sent with sendfile: neither a disk nor the origin is in the way.
BULK_BYTES, STREAMS = 1 << 30, 4


def ours(stage, form, port, logged, debug):
    """The command line of apim-proxy for one form."""
    options = {"server.address": "127.0.0.1", "server.workers": 1, "proxy.target.allow": "127.0.0.0/8"}
    options["server.port"] = free_port() if form == "reverse" else port
    options["proxy.forward.forms"] = "header,absolute,connect"
    options["proxy.connect.ports"] = stage.origin_process.port
    if form == "reverse":
        options |= {"proxy.reverse.port": port, "proxy.reverse.address": "127.0.0.1"}
        options |= {"proxy.reverse.log.dir": stage.folder, "proxy.reverse.log.format": "combined" if logged else "off"}
        options |= {"proxy.reverse.routes[0].path": "/", "proxy.reverse.routes[0].target": f"http://127.0.0.1:{stage.origin_process.port}"}
    elif logged:
        options |= {"proxy.log.format": "combined", "proxy.log.file": stage.folder / f"{port}-access.log"}
    else:
        options["proxy.log.format"] = "off"
    if debug:
        options |= {"logging.level.org.springframework.web.client.RestTemplate": "DEBUG"}
        options |= {"logging.file.name": stage.folder / f"{port}-operators.log"}
    return [ROOT / "target/release/apim-proxy", *(f"--{key}={value}" for key, value in options.items())]


def command(stage, name, form, port):
    """The command line of a peer for one form; a name that ends in `, log` keeps an access log."""
    logged = name.endswith(LOGGED)
    peer = name.removesuffix(LOGGED)
    origin, log = stage.origin_process.port, stage.folder / f"{port}-access.log"
    if peer.startswith(OURS):
        return ours(stage, form, port, logged, debug=peer != OURS)
    if peer == SQUID:
        own = stage.folder / "squid"
        own.mkdir(exist_ok=True)
        # It gives up root, and writes its files afterwards.
        own.chmod(0o777)
        stage.folder.chmod(0o711)
        word = f"stdio:{own}/{port}-access.log combined" if logged else "none"
        return ["squid", "-N", "-f", render("squid.conf", stage.folder, port=port, origin=origin, own=own, log=word)]
    if peer == APACHE:
        word = f'CustomLog {log} combined' if logged else ""
        return ["apache2", "-DFOREGROUND", "-f", render("apache2.conf", stage.folder, port=port, origin=origin, log=word)]
    if peer == NGINX:
        word = f"{log} combined" if logged else "off"
        return stage.nginx("nginx-one.conf", port=port, origin=origin, log=word)
    if form == "tunnel":
        return ["haproxy", "-db", "-f", render("haproxy-tcp.cfg", stage.folder, port=port, origin=origin)]
    # It writes to no file by itself: its standard output is one here.
    words = ("log stdout format raw local0", "log global\n    option httplog") if logged else ("no log", "")
    conf = render("haproxy-one.cfg", stage.folder, port=port, origin=origin, log=words[0], lines=words[1])
    return ["haproxy", "-db", "-f", conf]


def start(stage, name, form):
    """Starts a peer for one form, and checks that it passes the body on unchanged."""
    port = free_port()
    process = stage.launch(name, command(stage, name, form, port), port, PROXY_CORE)
    if form == "absolute":
        process.prefix = f"http://127.0.0.1:{stage.origin_process.port}"
    process.await_answer(stage.headers)
    if process.get("/1k", stage.headers) != stage.origin_process.get("/1k", {}):
        raise NotMeasured(f"{name} changed the 1k body")
    return process


def role_part(stage, form, options):
    """Requests on kept connections, each peer with and without an access log (`debug`: with the legacy's request log)."""
    stage.origin()
    names = {"absolute": ABSOLUTE, "reverse": REVERSE, "debug": DEBUG}[form]
    if form != "debug":
        stage.headers = {}
        names = [name for peer in names for name in (peer, peer + LOGGED)]
    processes = [start(stage, name, form) for name in names]
    samples = {name: [] for name in names}
    for process in rounds(processes, options.rounds):
        sample = window(stage, process, "1k", options.seconds)
        samples[process.name].append(sample)
        say(f"  {form}: {process.name}: {sample.cpu_us:.2f} us, {sample.rate:.0f}/s")
    lines = {process.name: log_lines(stage, process) for process in processes if LOGGED in process.name}
    if silent := [name for name, count in lines.items() if not count]:
        raise NotMeasured(f"no access log was written by {', '.join(silent)}")
    stage.clear()
    return {"samples": samples}


def log_lines(stage, process):
    """Bytes of the log that a peer kept."""
    kept = [*stage.folder.glob(f"{process.port}-*.log"), *stage.folder.glob(f"squid/{process.port}-*.log"), *stage.folder.glob("access_log")]
    if process.name.startswith(FIXED):
        kept.append(process.log)
    return sum(path.stat().st_size for path in kept)


def tunnel_part(stage, options):
    """Bytes through a tunnel: CONNECT where the peer knows it, a fixed TCP relay that splices where it does not."""
    stage.origin()
    bulk = stage.folder / "www/bulk"
    with bulk.open("wb") as file:
        file.truncate(BULK_BYTES)
    stage.headers = {}
    samples, processes = {name: [] for name in TUNNEL}, []
    for name in TUNNEL:
        port = free_port()
        process = stage.launch(name, command(stage, name, "tunnel", port), port, PROXY_CORE)
        processes.append(process)
        await_tunnel(stage, process)
    for process in rounds(processes, options.rounds):
        sample = bulk_window(stage, process, 1 if options.quick else STREAMS)
        samples[process.name].append(sample)
        say(f"  tunnel: {process.name}: {sample.cpu_us / 1e3:.1f} ms of CPU a GB, {sample.rate:.2f} GB/s")
    stage.clear()
    return {"samples": samples}


def curl(stage, process, path):
    """The words of curl for one body through a tunnel of this peer."""
    origin = stage.origin_process.port
    pin = ["taskset", "-c", str(LOAD_CORE), "curl", "-sSf", "--max-time", "120"]
    if process.name == FIXED:
        return [*pin, f"http://127.0.0.1:{process.port}/{path}"]
    return [*pin, "--noproxy", "", "--proxytunnel", "-x", f"http://127.0.0.1:{process.port}", f"http://127.0.0.1:{origin}/{path}"]


def await_tunnel(stage, process):
    """Waits until a tunnel passes a body on unchanged."""
    wanted = hashlib.sha256((stage.folder / "www/64k").read_bytes()).digest()
    end, text = time.perf_counter() + 10, b""
    while time.perf_counter() < end and process.child.poll() is None:
        done = subprocess.run(curl(stage, process, "64k"), stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode == 0 and hashlib.sha256(done.stdout).digest() == wanted:
            return
        text = done.stderr
    raise NotMeasured(f"{process.name} opens no tunnel: {text.decode(errors='replace').strip()[-300:]}")


def bulk_window(stage, process, streams):
    """So many downloads at once; the sample's unit is a GB (2^30 bytes)."""
    def downloads():
        begin = time.perf_counter()
        loads = [
            subprocess.Popen([*curl(stage, process, "bulk"), "-o", "/dev/null", "-w", "%{size_download}"], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(streams)
        ]
        for load in loads:
            text, errors = load.communicate()
            if load.returncode or text.strip() != str(BULK_BYTES):
                raise NotMeasured(f"{process.name}: curl got {text} bytes of {BULK_BYTES}: {errors.strip()[-300:]}")
        units = streams * BULK_BYTES / (1 << 30)
        return units, units / (time.perf_counter() - begin), 0, 0

    return timed(process, downloads)
