#!/bin/sh
# The virtual environment of every image and of FIRE's chroot: one recipe, without which none of them has the package.
#
#   make_venv.sh VENV TORCH [EXTRAS]
#
# VENV    where it will be, in the finished image too: programs in it know their place
# TORCH   version of torch, 2.13.0+cpu; a version with a label (+cpu, +cu118) is never replaced by one without
# EXTRAS  of inr-recon, "cuda" or "pictures,video"
#
# Run in the root of the source. Wheels in docker/wheels come first; what is not there pip gets as it is configured
# (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, or PIP_NO_INDEX=1 for nothing but the wheels).
set -eu

venv=$1 torch=$2 extras=${3:-}
python=${PYTHON:-python3}

"$python" -m venv "$venv"
limits=$(mktemp)
sed "s/^torch==.*/torch==$torch/" constraints.txt >"$limits"
install() {
    "$venv/bin/python" -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --find-links docker/wheels --constraint "$limits" "$@"
}

# torch first: what asks for it later finds it there and brings no other.
install "torch==$torch" || {
    echo "make_venv.sh: no torch $torch; put its wheel into docker/wheels, or name an index that has it" \
        "(PIP_EXTRA_INDEX_URL): see docs/docker.md" >&2
    exit 1
}
install ".${extras:+[$extras]}"
rm -f "$limits"

# What only building and testing need: pip itself, torch's headers and tests. Of its programs it looks for one at import.
"$venv/bin/python" -m pip uninstall --quiet --yes --root-user-action=ignore pip
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
rm -rf "$site/torch/include" "$site/torch/test"
find "$site/torch/bin" -type f ! -name torch_shm_manager -delete
