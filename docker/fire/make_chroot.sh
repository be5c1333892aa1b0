#!/bin/sh
# The image of a file system that FIRE mounts and starts the server in (chroot_image_name in fire.ini); as root.
#
#   make_chroot.sh OUT.img [ROOT.tar]
#
# ROOT.tar  the files of the image inr-recon (docker export); without it they are made here, by debootstrap and pip,
#           with what docker/wheels holds
#
# FREE_MB (200) is the room that is left in it; MATRICES (128), without ROOT.tar, are what is compiled for; SUITE, MIRROR,
# TORCH, EXTRAS and pip's own variables (PIP_NO_INDEX, ..) may be set. Needs mke2fs 1.43 or newer, which fills the image without mounting it.
set -eu
out=$(realpath "$1") tar=${2:+$(realpath "$2")}
source=$(realpath "$(dirname "$0")/../..")
torch=${TORCH:-$(sed -n 's/^ARG TORCH=//p' "$source/docker/serve.Dockerfile")}
work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
root=$work/root

if [ -n "$tar" ]; then
    mkdir "$root"
    tar -xf "$tar" -C "$root" --numeric-owner
else
    sh "$source/docker/base.sh" "$root" python3,python3-venv
    mkdir -p "$root/src/docker"
    for part in constraints.txt pyproject.toml README.md LICENSE core gadgets xml_configs; do
        cp -r "$source/$part" "$root/src/"
    done
    cp -r "$source/docker/make_venv.sh" "$source/docker/wheels" "$root/src/docker/"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    chroot "$root" sh -c 'cd /src && exec sh docker/make_venv.sh /opt/inr-recon "$1" "$2"' sh "$torch" "${EXTRAS:-}"
    : >"$root/etc/resolv.conf"
    rm -rf "$root/src"
    # Compiled now, for matrices of these sizes, and again only on a processor of another kind. torch needs /proc.
    unshare --mount --propagation private sh -c 'mount -t proc proc "$1/proc" && exec chroot "$@"' sh "$root" \
        env PATH=/opt/inr-recon/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 NUMBA_CACHE_DIR=/var/cache/inr-recon \
        inr-recon prepare ${MATRICES:-128}
fi
# What a container's engine writes for it, and nobody for a chroot.
printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n' >"$root/etc/hosts"
install -m 0755 "$source/docker/fire/start_inr.sh" "$root/opt/inr-recon/bin/start_inr.sh"
# The folder that the host shares.
install -d -m 1777 "$root/tmp" "$root/tmp/share"

# A tenth for the file system itself.
mb=$(($(du -sm --apparent-size "$root" | cut -f1) * 110 / 100 + ${FREE_MB:-200}))
mke2fs -q -F -t ext3 -m 0 -N "$(($(find "$root" | wc -l) * 2))" -d "$root" "$work/image" "${mb}M"
mv "$work/image" "$out"
echo "$out: $mb MB"
