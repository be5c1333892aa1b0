#!/bin/bash
# Gadgetron in its own environment, with inr-recon's Python first on the PATH: that is the one it starts gadgets with.
set -eo pipefail
if [ -f /opt/conda/etc/profile.d/conda.sh ]; then
    . /opt/conda/etc/profile.d/conda.sh
    conda activate gadgetron
fi
export PATH=/opt/inr-recon/bin:$PATH
exec gadgetron "$@"
