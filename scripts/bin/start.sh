#!/bin/bash
# Starts apim-proxy in the background and waits until it serves, or prints why it does not.
#
#   start.sh [--key=value ...]      settings for this start; they win over the configuration file
#
# Status: 0 it serves, 1 it does not (also: one runs already).
# What the process prints goes to log/output.log. It is given two files:
#
#   --server.pid-file=FILE     it writes its number there and holds an exclusive flock on it while it lives; if another
#                       process holds the lock it says so and ends with status 1
#   --server.ready-file=FILE   it makes this file, whole at once (by renaming), when its listeners are open:
#                           pid 1234
#                           listen 0.0.0.0:9000      one line for each listener, with the port really bound
#                           stop-seconds 30          how long it may take to end after SIGTERM
#
# The ready file belongs to this start alone and must name the process started here, so that an answering port, a
# file left behind or a second start at the same moment proves nothing. It is kept as log/apim-proxy.ready for kill.sh.

wait_seconds=30

home=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
program=$home/bin/apim-proxy
conf=$home/conf/application.properties
log=$home/log
output=$log/output.log
pid_file=$log/apim-proxy.pid
forward_only=$home/conf/forward-only
ready=$log/apim-proxy.ready.$$

fail() {
    printf 'apim-proxy not started: %s\n' "$1" >&2
    exit 1
}

# Files of another owner (a start under sudo) stop an ordinary user with a sentence instead of a puzzle.
check_writable() {
    local file owner
    for file in "$log" "$output" "$pid_file"; do
        if [ -e "$file" ] && [ ! -w "$file" ]; then
            owner=$(stat -c %U -- "$file")
            fail "$file belongs to $owner and $(id -un) cannot write it; use sudo, or give $log to $(id -un) (chown -R)"
        fi
    done
}

if pid=$("$home/bin/sp.sh" --pid); then
    fail "it runs already, pid $pid; stop it first with $home/bin/kill.sh"
fi
[ -x "$program" ] || fail "$program is missing or cannot be executed; run install.sh again"
[ -r "$conf" ] || fail "$conf is missing or $(id -un) cannot read it"
mkdir -p -- "$log" || fail "the folder $log cannot be made"
check_writable
rm -f -- "$ready"
trap 'rm -f -- "$ready"' EXIT
touch -- "$output" || fail "$output cannot be written"
printed_before=$(($(wc -c <"$output")))

# The legacy ran from bin/, so relative paths in the configuration are tried from there first.
cd -- "$home/bin" || exit 1
detach=$(command -v setsid || command -v nohup) || fail "neither setsid nor nohup is installed"
# httpd.service has the reverse listeners then (install.sh --replace-httpd).
[ ! -e "$forward_only" ] || set -- --proxy.listeners=forward "$@"
"$detach" "$program" "--spring.config.location=file:$conf" "--server.pid-file=$pid_file" "--server.ready-file=$ready" "$@" \
    </dev/null >>"$output" 2>&1 &
pid=$!

is_ready() {
    [ "$(head -n 1 -- "$ready" 2>/dev/null)" = "pid $pid" ]
}

ticks=$((wait_seconds * 20))
while ! is_ready && kill -0 "$pid" 2>/dev/null && [ "$ticks" -gt 0 ]; do
    sleep 0.05
    ticks=$((ticks - 1))
done

if is_ready && kill -0 "$pid" 2>/dev/null; then
    printf 'apim-proxy started, pid %s, listening on %s\n' "$pid" \
        "$(sed -n 's/^listen //p' "$ready" | paste -sd ' ' -)"
    mv -f -- "$ready" "$log/apim-proxy.ready"
    exit 0
fi

if [ "$ticks" -eq 0 ]; then
    kill "$pid" 2>/dev/null
    why="it was not ready within $wait_seconds s and was stopped"
else
    wait "$pid"
    why="it ended with status $?"
fi
tail -c +$((printed_before + 1)) -- "$output" | tail -n 40 >&2
fail "$why; what it printed is above and in $output"
