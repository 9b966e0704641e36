"""The parts that measure TLS: mTLS to the origin, from clients, new connections, idle connections, reuse.

All use the load of bench/load, whose connections are open before a window begins and idle when it ends. A part in which
apim-proxy cannot take part, because it does not start or does not answer, is measured without it and says so.
"""

from clients import CLIENTS, Crowd, crowd_window, rounds
from peers import FIXED, NGINX, OURS, VARIABLE, NotMeasured, say

# Part: keys and whether clients come with mTLS.
ROLES = {"mtls-out-rsa": ("rsa", False), "mtls-out-ec": ("ec", False), "mtls-both-rsa": ("rsa", True), "mtls-both-ec": ("ec", True)}
PARTS = [*ROLES, "handshakes", "idle-tls", "reuse"]
PEERS = [OURS, NGINX, FIXED]
# As many as rustls keeps tickets for one server: with more, some would find none.
NEW_CLIENTS = 8
TARGETS = 8


class Part:
    """The peers of a part, and the entry it fills in the results."""

    def __init__(self, stage, names, mtls_in):
        self.entry, self.processes = {"negotiated": {}, "left out": None}, []
        for name in names:
            running = len(stage.running)
            try:
                process, self.entry["negotiated"][name] = stage.serve_tls(name, mtls_in)
                self.processes.append(process)
            except (NotMeasured, OSError) as reason:
                if name != OURS:
                    raise
                say(f"  {OURS} is left out: {reason}")
                self.entry["left out"] = str(reason)
                for process in stage.running[running:]:
                    stage.stop(process)


def role_part(stage, role, options):
    """Requests on kept connections."""
    keys, mtls_in = ROLES[role]
    stage.origin_tls(keys)
    part = Part(stage, PEERS, mtls_in)
    part.entry["samples"] = samples = {process.name: [] for process in part.processes}
    for process in rounds(part.processes, options.rounds):
        with Crowd(stage, process, "keep" if mtls_in else "plain", CLIENTS) as crowd:
            crowd.window(options.seconds / 4)
            sample, _ = crowd_window(crowd, process, options.seconds)
        samples[process.name].append(sample)
        say(f"  {role}: {process.name}: {sample.cpu_us:.2f} us, {sample.rate:.0f}/s")
    stage.clear()
    return part.entry


def handshakes_part(stage, options):
    """New connections of one request each, with full handshakes and with resumed ones; RSA."""
    stage.origin_tls("rsa")
    part = Part(stage, PEERS, mtls_in=True)
    part.entry["samples"] = samples = {kind: {process.name: [] for process in part.processes} for kind in ("full", "resumed")}
    for process in rounds(part.processes, options.rounds):
        for kind, of_kind in samples.items():
            with Crowd(stage, process, kind, NEW_CLIENTS) as crowd:
                crowd.window(options.seconds / 8)
                sample, figures = crowd_window(crowd, process, options.seconds)
            share = figures["resumed"] / figures["exchanges"]
            if share < 0.99 if kind == "resumed" else share > 0:
                raise NotMeasured(f"{process.name}: {100 * share:.1f} % of the connections that were to be {kind} resumed")
            of_kind[process.name].append(sample)
            say(f"  {kind}: {process.name}: {sample.cpu_us:.0f} us, {sample.rate:.0f}/s")
    stage.clear()
    return part.entry


def idle_part(stage, clients_wanted):
    """Growth of private memory per mTLS client that made one request and then fell silent; RSA."""
    entries, memory = [], {}
    for name in PEERS:
        stage.origin_tls("rsa")
        part = Part(stage, [name], mtls_in=True)
        entries.append(part.entry)
        for process in part.processes:
            with Crowd(stage, process, "keep", CLIENTS) as warm:
                warm.window(1)
                before = process.private_bytes()
                with Crowd(stage, process, "keep", clients_wanted):
                    after = process.private_bytes()
            memory[name] = before, after
            say(f"  {name}: {(after - before) / clients_wanted:.0f} bytes per idle client ({clients_wanted} clients)")
        stage.clear()
    negotiated = {name: found for entry in entries for name, found in entry["negotiated"].items()}
    return {"negotiated": negotiated, "left out": entries[0]["left out"], "count": clients_wanted, "memory": memory}


def reuse_part(stage, options):
    """Requests whose header chooses one of several https targets: how many went out on a connection that was there."""
    stage.origin_tls("rsa", ports=TARGETS)
    part = Part(stage, [OURS, VARIABLE], mtls_in=False)
    part.entry["rows"] = rows = {}
    for process in part.processes:
        with Crowd(stage, process, "plain", CLIENTS, stage.targets) as crowd:
            crowd.window(options.seconds / 4)
            own, connections = process.statistics() if process.name == OURS else None, connections_accepted(stage)
            sample, figures = crowd_window(crowd, process, options.seconds)
            connections = connections_accepted(stage) - connections - 1  # the second look is a connection, too
        row = {"sample": sample, "requests": figures["exchanges"], "connections": connections}
        if own:
            row["own"] = {name: value - own[name] for name, value in process.statistics().items()}
        rows[process.name] = row
        say(f"  {process.name}: {connections} connections for {figures['exchanges']:.0f} requests, {sample.cpu_us:.1f} us")
    stage.clear()
    return part.entry


def connections_accepted(stage):
    """How many connections the origin has accepted."""
    _, status = stage.origin_process.get("/status", {})
    return int(status.split(b"requests")[1].split()[0])
