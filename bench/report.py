"""Results to Markdown: tables, ratios of medians, targets met and missed. Knows no processes."""

import os
from statistics import median

import forms
import tls
from peers import BODIES, FIXED, GROUP, NGINX, OURS, PROTOCOL, RELAY, SETDST, SUITE

RATIO_TARGETS = {RELAY: 1.25, NGINX: 0.80, FIXED: 0.90, SETDST: 0.60}
SYSCALLS_MAX = 4.2
IDLE_BYTES_MAX = 0.7 * 1024
FIRST_ANSWER_MS_MAX = 50
# Of the better of nginx and HAProxy; of each of them.
TLS_RATIO_TARGETS = {"mtls-out-rsa": 0.75, "mtls-both-rsa": 0.65}
HANDSHAKE_RATIO_MAX = 0.5
IDLE_TLS_BYTES_MAX = 5 * 1024
REUSED_MIN = 0.999
# Absolute-form, reverse, tunnels; what an access log may cost.
ABSOLUTE_RATIO_MAX, REVERSE_RATIO_MAX, TUNNEL_RATIO_MAX, LOG_RATIO_MAX = 0.25, 0.85, 1.1, 1.08

METHOD = """The proxy under test (one worker) is pinned to core 0; origin (one nginx worker) and load (wrk, one thread,
64 keep-alive connections) share core 1. Every peer gets the same request. Rounds are interleaved: {rounds} round(s), each beginning
with another peer, a warm-up of 1 s and a timed window of {seconds} s per peer and round. CPU time is what the scheduler charged to all
threads of the proxy (`/proc/PID/task/*/schedstat`, nanoseconds, system time included) divided by the requests wrk
completed in that window. Figures are medians over the rounds, with the range in brackets; ratios are ratios of medians. *Sleeps* counts how
often the proxy ran out of work, per request (0 = saturated); *waited* is the share of the window in which it was runnable but something
else ran on its core (above 1 %: the machine was not quiet)."""

TLS_METHOD = """Cores, rounds and counters are those of the plain roles; answers of 1 KB. {protocol} with {suite} and {group} everywhere,
pinned and checked: the column *from clients* is what openssl saw on the listener (after a client without a certificate had been refused), *to the
origin* what the origin saw. The origin asks for a client certificate and every proxy checks the origin's; chains are one certificate long. Load
is `bench/load`, for plain clients, too: its connections are open and warm before the window begins and none is cut off at its end, so no handshake
falls into a window unless handshakes are what is measured."""


FORMS = {
    "absolute": ("## Absolute-form, 1 KB, 64 connections", "As header-driven forwarding; the request line carries the whole URL. nginx and HAProxy have no such "
                 "mode: they go to one fixed origin and take of the URL what they need. *log* is one line a request in a file (HAProxy: its standard output, a file)."),
    "reverse": ("## Reverse proxy, 1 KB, 64 connections", "One route to one origin, connections to it pooled."),
    "tunnel": ("## Tunnels", "curl downloads a sparse file of 1 GB, four at once; the unit is 2^30 bytes. CONNECT through apim-proxy and Squid; HAProxy relays TCP "
               "to a fixed origin with `option splice-request` and `splice-response`."),
    "debug": ("## Request log of the legacy, 1 KB, 64 connections", "Header-driven forwarding with `logging.level.org.springframework.web.client.RestTemplate=DEBUG`, which drop-in users "
              "have in their file: two lines a request in the operators' log."),
}


def table(head, rows, figures=True):
    """A Markdown table; the first column is text, the others figures unless told otherwise."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + (" ---: |" if figures else " --- |") * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def spread(values, digits):
    """`median (min-max)`."""
    values = list(values)
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def role_table(samples, targets, per="request"):
    """One role: a row per peer."""
    cpu = {name: median(sample.cpu_us for sample in of_name) for name, of_name in samples.items()}
    rows = []
    for name, of_name in samples.items():
        ours = f"{cpu[OURS] / cpu[name]:.2f}" if OURS in cpu and name != OURS else ""
        rows.append([
            name,
            spread((sample.cpu_us for sample in of_name), 1),
            ours,
            f"{targets[name]:.2f}" if name in targets else "",
            spread((sample.rate for sample in of_name), 0),
            f"{median(sample.p50_us for sample in of_name) / 1e3:.2f}",
            f"{median(sample.p99_us for sample in of_name) / 1e3:.2f}",
            f"{median(sample.sleeps for sample in of_name):.2f}",
            f"{100 * max(sample.waited for sample in of_name):.1f} %",
            f"{max(sample.rss_bytes for sample in of_name) / 2**20:.1f}",
        ])
    head = ["peer", f"CPU us/{per}", "ours/peer", "target", f"{per}s/s", "p50 ms", "p99 ms", "sleeps", "waited", "RSS MB"]
    return table(head, rows)


def negotiated_table(results):
    """What each peer negotiated, a row per peer and part."""
    rows = [[part, name, *found] for part in tls.PARTS if part in results for name, found in results[part]["negotiated"].items()]
    return table(["part", "peer", "from clients", "to the origin"], rows, figures=False)


def medians(samples):
    """Median CPU time by name."""
    return {name: median(sample.cpu_us for sample in of_name) for name, of_name in samples.items()}


def tls_verdicts(results):
    """Rows of (target, measured, limit, verdict) of the TLS parts; a part that was measured without us is said so."""
    rows = []

    def judge(part, what, measure, limit, form, met=lambda measured, limit: measured <= limit):
        if results[part]["left out"] is not None:
            rows.append([what, "", form(limit), "**not measured**"])
        else:
            measured = measure(results[part])
            rows.append([what, form(measured), form(limit), "met" if met(measured, limit) else "**missed**"])

    def of_better(entry):
        cpu = medians(entry["samples"])
        return cpu[OURS] / min(cpu[NGINX], cpu[FIXED])

    def of(name):
        return lambda entry: medians(entry["samples"]["full"])[OURS] / medians(entry["samples"]["full"])[name]

    for part, limit in TLS_RATIO_TARGETS.items():
        if part in results:
            judge(part, f"CPU per request, {part}, ratio to the better of both", of_better, limit, "{:.2f}".format)
    if "handshakes" in results:
        for name in (NGINX, FIXED):
            judge("handshakes", f"CPU per new full mTLS connection, ratio to {name}", of(name), HANDSHAKE_RATIO_MAX, "{:.2f}".format)
    if "idle-tls" in results:
        growth = lambda entry: growth_per_client(entry, OURS)
        judge("idle-tls", "memory per idle mTLS client", growth, IDLE_TLS_BYTES_MAX, "{:.0f} bytes".format)
    if "reuse" in results:
        reused = lambda entry: reused_share(entry["rows"][OURS])
        judge("reuse", "https requests on a reused connection", reused, REUSED_MIN, "{:.3%}".format, lambda share, least: share >= least)
        rows[-1][2] = "at least " + rows[-1][2]
    return rows


def forms_verdicts(results):
    """Rows of (target, measured, limit, verdict) of the other forms."""
    rows = []

    def judge(part, what, name, peer, limit):
        if part in results:
            cpu = medians(results[part]["samples"])
            ratio = cpu[name] / cpu[peer]
            rows.append([what, f"{ratio:.2f}", f"{limit:.2f}", "met" if ratio <= limit else "**missed**"])

    judge("absolute", "CPU per request, absolute-form, ratio to squid", OURS, forms.SQUID, ABSOLUTE_RATIO_MAX)
    judge("reverse", "CPU per request, reverse, ratio to nginx", OURS, NGINX, REVERSE_RATIO_MAX)
    judge("tunnel", "CPU per GB, tunnel, ratio to haproxy splicing", OURS, FIXED, TUNNEL_RATIO_MAX)
    for part in ("absolute", "reverse"):
        judge(part, f"CPU per request, {part}, access log against none", OURS + forms.LOGGED, OURS, LOG_RATIO_MAX)
    return rows


def left_out(results):
    """TLS parts that were measured without us."""
    return [part for part in tls.PARTS if part in results and results[part]["left out"] is not None]


def growth_per_client(entry, name):
    """Bytes an idle client adds."""
    before, after = entry["memory"][name]
    return (after - before) / entry["count"]


def reused_share(row):
    """By our own counters where there are some, by the origin's connections otherwise."""
    if own := row.get("own"):
        return own["upstreams_reused"] / own["requests"]
    return 1 - row["connections"] / row["requests"]


def workers_growth(runs):
    """Requests a second with two workers over one, of medians."""
    return median(sample.rate for sample in runs[2]) / median(sample.rate for sample in runs[1])


def verdicts(results):
    """Rows of (target, measured, limit, verdict)."""
    rows = []

    def judge(what, measured, limit, digits=2, unit=""):
        verdict = "met" if measured <= limit else "**missed**"
        rows.append([what, f"{measured:.{digits}f}{unit}", f"{limit:.{digits}f}{unit}", verdict])

    if "1k" in results:
        cpu = {name: median(sample.cpu_us for sample in of_name) for name, of_name in results["1k"].items()}
        for name, limit in RATIO_TARGETS.items():
            judge(f"CPU per request, 1 KB, ratio to {name}", cpu[OURS] / cpu[name], limit)
    if "syscalls" in results:
        judge("system calls per request", sum(results["syscalls"][OURS].values()), SYSCALLS_MAX)
    if "idle" in results:
        count, memory = results["idle"]
        judge("memory per idle client", (memory[OURS][1] - memory[OURS][0]) / count, IDLE_BYTES_MAX, 0, " bytes")
    if "first" in results:
        judge("first answer after exec", median(results["first"][OURS]), FIRST_ANSWER_MS_MAX, 1, " ms")
    if "workers" in results:
        growth = workers_growth(results["workers"][OURS])
        bound = f"undecided: bound by the load on {os.cpu_count()} cores" if os.cpu_count() < 4 else "**missed**"
        verdict = "met" if growth > 1 else bound
        rows.append(["requests/s, two workers over one", f"{growth:.2f}", "above 1", verdict])
    return table(["target", "measured", "at most", "verdict"], rows + forms_verdicts(results) + tls_verdicts(results), figures=False)


def markdown(results):
    """The whole report."""
    out = ["# Benchmark results", "Written by `bench/run`; what is measured and why is said in `bench/README.md`."]
    out.append(table(["what", "version"], results["environment"].items(), figures=False))
    if results["ours"]:
        out += ["## Targets", verdicts(results)]
    if any(role in results for role in BODIES):
        out += ["## Header-driven forwarding, 64 connections", METHOD.format(**results)]
    for role in BODIES:
        if role in results:
            out += [f"### Answers of {role.upper()}B", role_table(results[role], RATIO_TARGETS if role == "1k" else {})]
    if "syscalls" in results:
        out += ["## System calls per request", "1 KB, in a window of its own under `strace -f -c`, which slows the proxy until it is saturated; h2load "
                "(`--h1`, 64 connections) makes an exact number of requests. Connecting 64 clients is included."]
        rows = []
        for name, calls in results["syscalls"].items():
            parts = sorted(calls.items(), key=lambda item: -item[1])
            rows.append([name, f"{sum(calls.values()):.2f}", ", ".join(f"{call} {count:.2f}" for call, count in parts if count >= 0.01)])
        out.append(table(["peer", "total", "of which"], rows, figures=False))
    if "idle" in results:
        count, memory = results["idle"]
        out += ["## Idle keep-alive clients", f"Growth of private dirty memory over {count} clients that each made one request, per client. What a "
                "proxy sets aside at start for connections to come (nginx: its connection table) is in the column *before*."]
        rows = [[name, f"{(after - before) / count:.0f}", f"{before / 2**20:.1f}", f"{after / 2**20:.1f}"]
                for name, (before, after) in memory.items()]
        out.append(table(["peer", "bytes per client", "before, MB", "after, MB"], rows))
    if "first" in results:
        out += ["## First answer after exec", "Milliseconds from starting the process to its first 200 (fork and exec included), unpinned."]
        out.append(table(["peer", "ms"], [[name, spread(times, 1)] for name, times in results["first"].items()]))
    if "workers" in results:
        out += ["## Workers", "1 KB, nothing pinned: origin and load share the cores with the proxy, so that on two cores the load, not "
                "the proxy, is the bound. CPU per request tells what a second worker costs."]
        rows = []
        for name, runs in results["workers"].items():
            rates = [spread((sample.rate for sample in runs[count]), 0) for count in (1, 2)]
            cpu = [spread((sample.cpu_us for sample in runs[count]), 1) for count in (1, 2)]
            rows.append([name, *rates, f"{workers_growth(runs):.2f}", *cpu])
        out.append(table(["peer", "requests/s, 1 worker", "2 workers", "ratio", "CPU us/request, 1 worker", "2 workers"], rows))
    if "callgrind" in results:
        count = results["callgrind"]
        out += ["## Instructions per exchange", "In memory, no system calls (`bench/exchange.rs` under callgrind): "
                + ("not measured, the example is missing." if count is None else f"**{count:.0f}** instructions.")]
    return "\n\n".join(out + forms_sections(results) + tls_sections(results)) + "\n"


def forms_sections(results):
    """The report on absolute-form, reverse, tunnels and request logs."""
    out = []
    for part, about in FORMS.items():
        if part in results:
            per = "GB" if part == "tunnel" else "request"
            out += [about[0], about[1], role_table(results[part]["samples"], {}, per)]
    return out


def tls_sections(results):
    """The TLS half of the report."""
    if not any(part in results for part in tls.PARTS):
        return []
    out = ["## TLS, 64 connections", TLS_METHOD.format(protocol=PROTOCOL, suite=SUITE, group=GROUP), negotiated_table(results)]
    for part in left_out(results):
        reason = results[part]["left out"].splitlines()
        out.append(f"{part}: {OURS} was left out, as {reason[0]} `{reason[-1]}`")
    for role in tls.ROLES:
        if role in results:
            keys, mtls_in = tls.ROLES[role]
            limit = TLS_RATIO_TARGETS.get(role)
            out.append(f"### {role}: {'mTLS' if mtls_in else 'plain'} in, mTLS out, {keys.upper()}")
            out.append(role_table(results[role]["samples"], {name: limit for name in (NGINX, FIXED) if limit}))
    if "handshakes" in results:
        out += ["## New mTLS connections", f"RSA. {tls.NEW_CLIENTS} clients that dial, shake hands, make one request, say close_notify "
                "and dial again; the upstream connection comes from the pool. Everything a connection costs is in the figure, its request, "
                "accepting and closing it included."]
        for kind, limits in (("full", {NGINX: HANDSHAKE_RATIO_MAX, FIXED: HANDSHAKE_RATIO_MAX}), ("resumed", {})):
            out += [f"### Handshakes: {kind}", role_table(results["handshakes"]["samples"][kind], limits, "connection")]
    if "idle-tls" in results:
        entry = results["idle-tls"]
        out += ["## Idle mTLS clients", f"As idle keep-alive clients, RSA: {entry['count']} clients beside {tls.CLIENTS} that were there before, "
                "never more than 64 of them in their handshake at once."]
        rows = [[name, f"{growth_per_client(entry, name):.0f}", f"{before / 2**20:.1f}", f"{after / 2**20:.1f}"]
                for name, (before, after) in entry["memory"].items()]
        out.append(table(["peer", "bytes per client", "before, MB", "after, MB"], rows))
    if "reuse" in results:
        out += ["## Reuse of connections to https targets", f"Plain in, mTLS out, RSA; the header of every request names the next of {tls.TARGETS} "
                "targets. *Reused* is from apim-proxy's counters (`upstreams_reused` of `requests`), of nginx from the connections the origin "
                "accepted. A variable address in nginx's `proxy_pass` is never pooled."]
        rows = []
        for name, row in results["reuse"]["rows"].items():
            dialled = str(row["own"]["upstreams_dialled"]) if "own" in row else ""
            reused, cpu = f"{100 * reused_share(row):.3f} %", f"{row['sample'].cpu_us:.1f}"
            rows.append([name, f"{row['requests']:.0f}", str(row["connections"]), dialled, reused, cpu])
        out.append(table(["peer", "requests", "connections at the origin", "dialled, own count", "reused", "CPU us/request"], rows))
    return out
