# The server on a CPU, and what the other images are made from. In the root of the source:
#   docker build -f docker/serve.Dockerfile -t inr-recon:0.1.0 .
# after torch's wheel has been put into docker/wheels (docs/docker.md).
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
# For pip: an index of your own, or PIP_NO_INDEX=1 for the wheels alone. None of it is in the image: the next stage
# begins anew.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_NO_INDEX
# constraints.txt's, with the label that keeps gigabytes of CUDA away.
ARG TORCH=2.13.0+cpu
ARG EXTRAS=
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY core core
COPY gadgets gadgets
COPY xml_configs xml_configs
COPY docker/make_venv.sh docker/
COPY docker/wheels docker/wheels
RUN sh docker/make_venv.sh /opt/inr-recon "${TORCH}" "${EXTRAS}"

FROM ${BASE}
LABEL org.opencontainers.image.title="inr-recon" \
      org.opencontainers.image.description="Streaming INR reconstruction of dynamic radial MRI: an MRD server" \
      org.opencontainers.image.licenses="MIT"
# Nobody's home and nobody's files but /scans, for serve --save, and what is compiled for this processor.
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf /var/log/apt /var/log/dpkg.log \
    && useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin inr \
    && install -d -o inr -m 0700 /scans \
    && install -d -o inr -m 0755 /var/cache/inr-recon
COPY --from=build /opt/inr-recon /opt/inr-recon
ENV PATH=/opt/inr-recon/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/var/cache/inr-recon
# As the user that will run it: folders of compiled functions that root has made are closed to that one.
USER 10001
# Nothing is installed whose libraries are not there.
RUN inr-recon doctor
# Compiled now, for matrices of these sizes, and again only on a processor of another kind.
ARG MATRICES=128
RUN inr-recon prepare ${MATRICES}
EXPOSE 9002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 \
    CMD ["inr-recon", "ping", "--address", "127.0.0.1", "--port", "9002"]
ENTRYPOINT ["inr-recon"]
# In a container the loopback is the container's own; who may come in, the published port says.
CMD ["serve", "--host", "0.0.0.0", "--port", "9002"]
