# A Gadgetron image with inr-recon in it: Gadgetron itself starts the gadgets, -c inr_dynamic.xml. In the root of the
# source, after torch's wheel has been put into docker/wheels (docs/docker.md):
#   docker build -f docker/gadgetron.Dockerfile --build-arg BASE=NAME_OF_A_GADGETRON_IMAGE -t inr-recon-gadgetron:0.1.0 .
ARG BASE

# Gadgetron's own environment may have Python 3.10. This package needs 3.11, and gets one of its own beside it.
FROM ${BASE} AS python
USER root
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3.11 python3.11-venv \
    && rm -rf /var/lib/apt/lists/*

FROM python AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_NO_INDEX
ARG TORCH=2.13.0+cpu
ARG EXTRAS=
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY core core
COPY gadgets gadgets
COPY xml_configs xml_configs
COPY docker/make_venv.sh docker/
COPY docker/wheels docker/wheels
RUN PYTHON=python3.11 sh docker/make_venv.sh /opt/inr-recon "${TORCH}" "${EXTRAS}"

FROM python
# Where this Gadgetron looks configurations up, and who runs it.
ARG GADGETRON_HOME=/opt/conda/envs/gadgetron
ARG RUN_AS=1000
COPY --from=build /opt/inr-recon /opt/inr-recon
COPY xml_configs/*.xml ${GADGETRON_HOME}/share/gadgetron/config/
COPY --chmod=0755 docker/start_gadgetron.sh /opt/
ENV PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/var/cache/inr-recon
RUN install -d -o ${RUN_AS} -m 0755 /var/cache/inr-recon
# As the user that will run it: folders of compiled functions that root has made are closed to that one.
USER ${RUN_AS}
RUN /opt/inr-recon/bin/inr-recon doctor
# Compiled now, for matrices of these sizes, and again only on a processor of another kind.
ARG MATRICES=128
RUN /opt/inr-recon/bin/inr-recon prepare ${MATRICES}
EXPOSE 9002
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 \
    CMD ["/opt/inr-recon/bin/inr-recon", "ping", "--address", "127.0.0.1", "--port", "9002", "--version"]
ENTRYPOINT ["/opt/start_gadgetron.sh"]
