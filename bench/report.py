"""Results to Markdown: tables, ratios of medians, targets met and missed. Knows no processes."""

import os
from statistics import median

from peers import BODIES, FIXED, NGINX, OURS, RELAY, SETDST

RATIO_TARGETS = {RELAY: 1.25, NGINX: 0.80, FIXED: 0.90, SETDST: 0.60}
SYSCALLS_MAX = 4.2
IDLE_BYTES_MAX = 0.7 * 1024
FIRST_ANSWER_MS_MAX = 50

METHOD = """The proxy under test (one worker) is pinned to core 0; origin (one nginx worker) and load (wrk, one thread,
64 keep-alive connections) share core 1. Every peer gets the same request. Rounds are interleaved: {rounds} round(s), each beginning
with another peer, a warm-up of 1 s and a timed window of {seconds} s per peer and round. CPU time is what the scheduler charged to all
threads of the proxy (`/proc/PID/task/*/schedstat`, nanoseconds, system time included) divided by the requests wrk
completed in that window. Figures are medians over the rounds, with the range in brackets; ratios are ratios of medians. *Sleeps* counts how
often the proxy ran out of work, per request (0 = saturated); *waited* is the share of the window in which it was runnable but something
else ran on its core (above 1 %: the machine was not quiet)."""


def table(head, rows, figures=True):
    """A Markdown table; the first column is text, the others figures unless told otherwise."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + (" ---: |" if figures else " --- |") * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def spread(values, digits):
    """`median (min-max)`."""
    values = list(values)
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def role_table(samples, targets):
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
    head = ["peer", "CPU us/request", "ours/peer", "target", "requests/s", "p50 ms", "p99 ms", "sleeps", "waited", "RSS MB"]
    return table(head, rows)


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
    return table(["target", "measured", "at most", "verdict"], rows, figures=False)


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
    return "\n\n".join(out) + "\n"
