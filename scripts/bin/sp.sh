#!/bin/bash
# Shows the process: its ps line and status 0, or a sentence and status 1 when none runs. With --pid: only its number.
#
# Can be run or sourced, from any folder: everything happens in a subshell, so a shell that sources it keeps its
# folder, options and variables.
#
# The process is known by its command line, which names the program and the pid file of this installation. The number
# in a pid file would not do: after a crash another program may have it.

(
    set +efu +o pipefail
    home=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]:-$0}")")")

    # grep reads the pattern from a pipe, so that its own command line does not hold it.
    # shellcheck disable=SC2062
    printf '%s\n' "--server.pid-file=$home/log/apim-proxy.pid" | grep -lzxF -f - /proc/[0-9]*/cmdline 2>/dev/null | {
        while IFS= read -r file; do
            [ "$(tr '\0' '\n' 2>/dev/null <"$file" | head -n 1)" = "$home/bin/apim-proxy" ] || continue
            pid=${file#/proc/}
            pid=${pid%/cmdline}
            if [ "${1-}" = --pid ]; then
                printf '%s\n' "$pid"
            else
                # A container may lack ps.
                ps -wwfp "$pid" 2>/dev/null | tail -n +2 | grep . || printf '%s %s\n' "$pid" "$(tr '\0' ' ' <"$file")"
            fi
            exit 0
        done
        [ "${1-}" = --pid ] || printf 'apim-proxy is not running (%s)\n' "$home"
        exit 1
    }
) || {
    # shellcheck disable=SC2317 # reached when run, not when sourced
    return 1 2>/dev/null || exit 1
}
