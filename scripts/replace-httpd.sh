#!/bin/bash
# Puts the reverse listeners in httpd's place, or httpd back into its own; install.sh calls it:
#
#   replace-httpd.sh replace|restore [--root DIR] [PREFIX]      PREFIX defaults to /app/apim-proxy
#
# replace   /etc/systemd/system/httpd.service becomes a unit that runs a second process of PREFIX/bin/apim-proxy with the
#           reverse listeners alone, so that `systemctl start|status|restart|stop httpd` drive them while port 9000 goes
#           on in the process of start.sh. Where the distribution calls its unit apache2 (Debian), that name leads to it
#           as well. A unit in /etc wins over the distribution's in /usr/lib, which is not touched.
# restore   removes that unit and puts back what it had taken the place of.
#
# What an operator had in /etc/systemd/system under these names is kept in PREFIX/lib/httpd-units. PREFIX/conf/forward-only
# tells start.sh to leave the reverse listeners alone; it stays after restore, because httpd has their ports then.
# With --root the units lie below DIR, as for an image, and systemctl is not called, unless SYSTEMCTL names a program.

set -eu
umask 022

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

usage='usage: install.sh --replace-httpd|--restore-httpd [--root DIR] [PREFIX]'
action=${1-}
case $action in
    replace | restore) shift ;;
    *) fail "$usage" ;;
esac
root=
systemctl=${SYSTEMCTL-systemctl}
if [ "${1-}" = --root ]; then
    if [ "$#" -lt 2 ] || [ ! -d "$2" ]; then
        fail '--root needs a folder'
    fi
    root=${2%/}
    systemctl=${SYSTEMCTL-}
    shift 2
fi
[ "$#" -le 1 ] || fail "$usage"
prefix=${1:-/app/apim-proxy}
case $prefix in
    -*) fail "$usage" ;;
esac

[ -x "$prefix/bin/apim-proxy" ] || fail "$prefix/bin/apim-proxy is not there; run install.sh first, with the same PREFIX"
prefix=$(CDPATH='' cd -P -- "$prefix" && pwd -P)
case $prefix in
    *[!A-Za-z0-9\ ./_+@:,-]*) fail "a unit cannot name $prefix; install into a folder with a plainer name" ;;
esac
program=$prefix/bin/apim-proxy
conf=$prefix/conf/application.properties
marker=$prefix/conf/forward-only
kept=$prefix/lib/httpd-units
units=$root/etc/systemd/system
unit=$units/httpd.service
mark='# Made by install.sh --replace-httpd; install.sh --restore-httpd removes it.'

if [ -n "$systemctl" ]; then
    command -v "$systemctl" >/dev/null || fail "there is no $systemctl here; only systemd's units can be replaced"
fi
mkdir -p -- "$units" 2>/dev/null || fail "$(id -un) cannot make $units; use sudo"
[ -w "$units" ] || fail "$(id -un) cannot write to $units; use sudo"

# Calls systemctl where there is one to call; without, nothing runs and nothing is to be told.
tell() {
    [ -z "$systemctl" ] || "$systemctl" "$@"
}

runs() {
    [ -n "$systemctl" ] && "$systemctl" is-active --quiet "$1"
}

# The names under which the distribution's unit is driven.
distribution() {
    local name folder
    for name in httpd apache2; do
        for folder in usr/lib lib; do
            if [ -e "$root/$folder/systemd/system/$name.service" ]; then
                printf '%s\n' "$name"
                break
            fi
        done
    done
}

is_ours() {
    [ -f "$1" ] && grep -qxF -- "$mark" "$1"
}

write_unit() {
    cat >"$unit.part" <<UNIT
$mark
# The reverse listeners of apim-proxy under httpd's name; its configuration is $conf.

[Unit]
Description=Reverse listeners of apim-proxy, in place of httpd
Wants=network-online.target
After=network-online.target remote-fs.target nss-lookup.target

[Service]
Type=notify
WorkingDirectory=$prefix/bin
# Its log goes to the journal (journalctl -u httpd): the files of logging.file.name and proxy.log.file belong to the process
# of start.sh.
ExecStart="$program" "--spring.config.location=file:$conf" --proxy.listeners=reverse "--server.pid-file=$prefix/log/httpd.pid" --logging.file.name= --proxy.log.format=off
ExecReload=/bin/kill -HUP \$MAINPID
# Requests in progress have spring.lifecycle.timeout-per-shutdown-phase to end; give more here if that is above 80 s.
TimeoutStopSec=90
Restart=on-failure
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
UNIT
    mv -f -- "$unit.part" "$unit"
}

# What an operator had under a name is put aside once; what is ours needs no keeping.
put_aside() { # NAME
    local path
    for path in "$units/$1.service" "$units/$1.service.d"; do
        [ -e "$path" ] || [ -L "$path" ] || continue
        ! is_ours "$path" || continue
        mkdir -p -- "$kept"
        [ ! -e "$kept/${path##*/}" ] || fail "$path and $kept/${path##*/} are both there; remove the one that no longer counts"
        mv -- "$path" "$kept/"
    done
}

put_back() {
    local path
    is_ours "$unit" && rm -f -- "$unit"
    [ "$(readlink -- "$units/apache2.service" || :)" != httpd.service ] || rm -f -- "$units/apache2.service"
    for path in "$kept"/*; do
        [ -e "$path" ] || [ -L "$path" ] || continue
        mv -- "$path" "$units/"
    done
    rmdir -- "$kept" 2>/dev/null || :
    tell daemon-reload
}

names=$(distribution)
name=httpd
case $names in
    *httpd* | '') ;;
    *) name=apache2 ;;
esac

replace() {
    local path active problems again=false
    for path in "$root"/{etc,run}/systemd/system/{httpd,apache2}.service; do
        [ "$(readlink -- "$path" || :)" != /dev/null ] ||
            fail "$path masks the unit, so that nobody starts it; if this is to change: systemctl unmask $(basename -- "$path")"
    done
    runs httpd.socket && fail 'httpd.socket opens the port in systemd; first: systemctl disable --now httpd.socket'
    # Before httpd is stopped: what does not start must not take its place.
    problems=$("$program" check "--spring.config.location=file:$conf" --proxy.listeners=reverse) ||
        fail "$(printf '%s\n' "$problems" | sed -n '/^error: /p')
nothing was changed: the reverse listeners would not start with $conf"
    active=false
    if is_ours "$unit"; then
        again=true
        ! runs httpd || active=true
    elif runs "$name"; then
        active=true
        tell stop "$name"
    fi
    put_aside httpd
    [ "$name" = httpd ] || put_aside apache2
    write_unit
    [ "$name" = httpd ] || ln -sfn httpd.service "$units/apache2.service"
    printf '%s\n' 'While this file is here start.sh opens the forward listener only; httpd.service has the others.' >"$marker"
    tell daemon-reload
    if [ "$active" = true ] && ! tell restart httpd; then
        [ "$again" = false ] || fail 'the reverse listeners did not start again; journalctl -u httpd says why'
        put_back
        tell start "$name" || :
        fail "the reverse listeners did not start (journalctl -u httpd says why); httpd is back in its place"
    fi
    printf '%s drives the reverse listeners now\n' "$unit"
    [ "$active" = true ] || printf 'start them with: systemctl start httpd\n'
    if "$prefix/bin/sp.sh" --pid >/dev/null 2>&1; then
        printf 'restart the running proxy if it has opened reverse listeners itself: kill.sh, then start.sh\n'
    fi
}

restore() {
    is_ours "$unit" || fail "$unit is not one of ours; httpd is not replaced"
    local active=false
    if runs httpd; then
        active=true
        tell stop httpd
    fi
    put_back
    if [ "$active" = true ] && [ -n "$names" ]; then
        tell start "$name" || fail "$name is in its place again, and does not start: systemctl status $name"
    fi
    printf '%s is in its place again; start.sh leaves the reverse listeners alone until %s is removed\n' "$name" "$marker"
}

"$action"
