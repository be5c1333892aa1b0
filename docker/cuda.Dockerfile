# The server on an NVIDIA GPU: the image of serve.Dockerfile with a torch that brings its CUDA along, told to the
# container toolkit. Two commands, in the root of the source (docs/docker.md):
#   docker build -f docker/serve.Dockerfile --build-arg TORCH=2.13.0 -t inr-recon-torch-cuda:0.1.0 .
#   docker build -f docker/cuda.Dockerfile -t inr-recon-cuda:0.1.0 .
ARG BASE=inr-recon-torch-cuda:0.1.0
FROM ${BASE}
RUN python -c "import sys, torch; torch.version.cuda or sys.exit(f'torch {torch.__version__} has no CUDA: build the \
base with --build-arg TORCH=2.13.0, and without a +cpu wheel in docker/wheels')"
# No CUDA is installed but torch's; the driver and its libraries are the host's.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
