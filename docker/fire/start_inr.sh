#!/bin/sh
# What fire.ini's chroot_command names: starts the server in the chroot and returns when it listens.
#
#   start_inr.sh [LOG [OPTIONS OF inr-recon serve]]
#
# LOG  a file in /tmp/share, which the host sees, in a folder that is made if need be; without it the log goes nowhere
#
# A server that is there already is left as it is: FIRE may start it before every scan.
set -eu
log=${1:-/dev/null}
[ $# -eq 0 ] || shift
PATH=/opt/inr-recon/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# What is compiled for this processor is kept in the image, where that can be written to.
export PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=/var/cache/inr-recon
mkdir -p "$NUMBA_CACHE_DIR" 2>/dev/null || true
if inr-recon ping --address 127.0.0.1 --port 9002 --timeout 2 >/dev/null 2>&1; then
    exit 0
fi
mkdir -p "$(dirname "$log")"
set -- inr-recon serve --port 9002 "$@"
# torch learns from /proc what the processor can do; without it the live image's network is refused (no FBGEMM). A mount in a namespace of the server's
# own goes with the server: it does not keep FIRE from taking the image away.
if [ ! -e /proc/self ]; then
    if unshare --mount --propagation private mount -t proc proc /proc 2>/dev/null; then
        set -- unshare --mount --propagation private sh -c 'mount -t proc proc /proc && exec "$@"' sh "$@"
    else
        echo "start_inr.sh: /proc is not there and cannot be mounted, and torch cannot do without: mount it" >&2
        exit 1
    fi
fi
# Away from FIRE's terminal and process group, so that it lives on after this script.
setsid "$@" </dev/null >>"$log" 2>&1 &
server=$!
tries=20
while [ $((tries -= 1)) -gt 0 ]; do
    sleep 0.5
    if inr-recon ping --address 127.0.0.1 --port 9002 --timeout 2 >/dev/null 2>&1; then
        exit 0
    fi
    if ! kill -0 "$server" 2>/dev/null; then
        break
    fi
done
echo "start_inr.sh: the server does not answer; its log is $log" >&2
exit 1
