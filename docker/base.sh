#!/bin/sh
# A small Debian in a folder, by debootstrap and as root: the images' base where no registry can be reached, and what
# FIRE's chroot is made from.
#
#   base.sh FOLDER [PACKAGE,PACKAGE]
#
# SUITE (bookworm) and MIRROR (debootstrap's own) may be set.
set -eu
folder=$1 packages=${2:-}
if [ -e "$folder" ]; then
    echo "base.sh: $folder exists; name a new folder" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "base.sh: debootstrap needs root" >&2
    exit 1
fi
debootstrap --variant=minbase ${packages:+--include="$packages"} "${SUITE:-bookworm}" "$folder" ${MIRROR:+"$MIRROR"}

# Nothing of the machine that it was made on, and nothing that only a person at a terminal reads.
: >"$folder/etc/resolv.conf"
echo inr-recon >"$folder/etc/hostname"
printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n' >"$folder/etc/hosts"
rm -rf "$folder"/var/lib/apt/lists/* "$folder"/var/cache/apt/* "$folder"/var/log/* \
    "$folder"/usr/share/man/* "$folder"/usr/share/locale/* "$folder"/usr/share/info/*
find "$folder/usr/share/doc" -type f ! -name copyright -delete
