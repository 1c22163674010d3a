# The whole suite in one image: `docker run IMAGE node node-1`. compose.yaml runs a venue of it.
# Dependencies are those of deploy/requirements.lock, by hash; what runs is not root, and writes to /data alone.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY deploy/requirements.lock ./
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --quiet --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY sequencer sequencer
COPY engines engines
COPY gateways gateways
COPY examples examples
RUN /opt/venv/bin/pip install --quiet --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/venv/bin/pip uninstall --quiet --yes setuptools

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin island \
    && install -d -o island -g island -m 0700 /data /config
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 SEQUENCER_CONFIG=/config SEQUENCER_DATA=/data
USER island
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["sequencer"]
CMD ["--help"]
