#!/bin/bash
# Stops apim-proxy: it serves what has begun, then ends.
#
#   kill.sh         waits for the time the process gives itself (spring.lifecycle.timeout-per-shutdown-phase) + 5 s
#   kill.sh -9      ends it at once; requests being served are cut off
#
# Status: 0 it has ended, 1 none ran, 2 it still runs or may not be stopped by this user, 64 wrong argument.

home=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
ready=$home/log/apim-proxy.ready

signal=TERM
case $#:${1-} in
    0:) ;;
    1:-9) signal=KILL ;;
    *)
        printf 'usage: kill.sh [-9]\n' >&2
        exit 64
        ;;
esac

# Whether a thread of the process still runs: with the last one its files and their locks are free. What is left then is
# a zombie that waits for its parent.
lives() {
    grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1"/task/*/status
}

if ! pid=$("$home/bin/sp.sh" --pid); then
    printf 'apim-proxy is not running (%s)\n' "$home"
    exit 1
fi

seconds=30
if [ "$(head -n 1 -- "$ready" 2>/dev/null)" = "pid $pid" ]; then
    told=$(sed -n 's/^stop-seconds \([0-9][0-9]*\)$/\1/p' "$ready" 2>/dev/null)
    seconds=${told:-$seconds}
fi
seconds=$((seconds + 5))

if ! kill -s "$signal" "$pid" 2>/dev/null && lives "$pid"; then
    printf 'apim-proxy, pid %s, belongs to %s and %s may not stop it; use sudo\n' \
        "$pid" "$(stat -c %U "/proc/$pid")" "$(id -un)" >&2
    exit 2
fi

ticks=$((seconds * 10))
while lives "$pid" && [ "$ticks" -gt 0 ]; do
    sleep 0.1
    ticks=$((ticks - 1))
done

if lives "$pid"; then
    printf 'apim-proxy, pid %s, still runs after %s s; kill.sh -9 ends it at once\n' "$pid" "$seconds" >&2
    exit 2
fi
printf 'apim-proxy stopped, pid %s\n' "$pid"
