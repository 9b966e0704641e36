#!/bin/bash
# Lays out an installation, or upgrades one:
#
#   scripts/install.sh [--binary FILE] [PREFIX]       PREFIX defaults to /app/apim-proxy
#
#   PREFIX/bin    apim-proxy, start.sh, sp.sh, kill.sh    replaced; a running process goes on until it is restarted
#   PREFIX/conf   application.properties                  never overwritten: a new one arrives as .new beside it
#   PREFIX/lib    yours                                   PREFIX/log   output.log, the pid file
#
#   scripts/install.sh --replace-httpd [--root DIR] [PREFIX]     httpd's unit drives the reverse listeners of PREFIX
#   scripts/install.sh --restore-httpd [--root DIR] [PREFIX]     httpd has its place again; see replace-httpd.sh
#
# Without --binary it installs target/release/apim-proxy, built first when it is missing or older than its sources.

set -eu
umask 022

fail() {
    printf 'not installed: %s\n' "$1" >&2
    exit 1
}

source=$(CDPATH='' cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

case ${1-} in
    --replace-httpd | --restore-httpd)
        action=${1#--}
        exec "$source/scripts/replace-httpd.sh" "${action%-httpd}" "${@:2}"
        ;;
esac

binary=
prefix=/app/apim-proxy
if [ "${1-}" = --binary ]; then
    [ "$#" -ge 2 ] || fail '--binary needs a file'
    binary=$2
    [ -f "$binary" ] || fail "$binary does not exist"
    shift 2
fi
[ "$#" -le 1 ] || fail 'usage: install.sh [--binary FILE] [PREFIX]'
prefix=${1:-$prefix}
case $prefix in
    -*) fail 'usage: install.sh [--binary FILE] [PREFIX]' ;;
esac

if [ -z "$binary" ]; then
    binary=${CARGO_TARGET_DIR:-$source/target}/release/apim-proxy
    if [ ! -x "$binary" ] ||
        [ -n "$(find "$source/src" "$source/Cargo.toml" "$source/Cargo.lock" -newer "$binary" -print -quit)" ]; then
        # Under sudo there is usually no cargo, and a build as root would leave root's files in the source folder.
        command -v cargo >/dev/null || fail "$binary is missing or older than its sources, and cargo is not in the
PATH of $(id -un); run 'cargo build --release' as yourself, then this again"
        (cd -- "$source" && cargo build --release --locked)
    fi
fi

mkdir -p -- "$prefix" 2>/dev/null || fail "$(id -un) cannot make $prefix; use sudo or name another PREFIX"
[ -w "$prefix" ] || fail "$(id -un) cannot write to $prefix; use sudo or name another PREFIX"
prefix=$(CDPATH='' cd -P -- "$prefix" && pwd -P)
mkdir -p -- "$prefix/bin" "$prefix/conf" "$prefix/lib" "$prefix/log"

# Copied beside its place and renamed: a program that runs cannot be written to, and no half file is ever seen.
place() { # FROM TO MODE
    cp -- "$1" "$2.part"
    chmod "$3" -- "$2.part"
    mv -f -- "$2.part" "$2"
}

place "$binary" "$prefix/bin/apim-proxy" 755
for script in start.sh sp.sh kill.sh; do
    place "$source/scripts/bin/$script" "$prefix/bin/$script" 755
done

new=$source/conf/application.properties
conf=$prefix/conf/application.properties
note=
if [ ! -e "$conf" ]; then
    # It will hold passwords.
    place "$new" "$conf" 640
elif ! cmp -s -- "$new" "$conf"; then
    place "$new" "$conf.new" 640
    note="; $conf was kept, the new one is $conf.new"
fi

printf 'installed in %s%s\nstart it with: %s/bin/start.sh\n' "$prefix" "$note" "$prefix"
