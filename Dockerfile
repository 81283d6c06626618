# Two stages: the first downloads with checked hashes and builds, the second holds only the finished environment.
# The tag names the releases of Python and Debian, so each build takes their security fixes. `make base-digest`
# pins the exact image.

FROM python:3.12-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src

# pip checks every download against its hash. The build tools stay in this stage.
COPY requirements.lock ./
RUN python -m venv /tools \
 && pip download --require-hashes --only-binary :all: --dest /wheels -r requirements.lock \
 && /tools/bin/pip install --require-hashes --no-index --find-links /wheels -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY voicegw voicegw
# The only voicegw among the wheels is the one that was built here, so no version is given.
# hadolint ignore=DL3013
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && python -m venv --without-pip /opt/voicegw \
 && pip --python /opt/voicegw install --no-index --find-links /wheels voicegw

FROM python:3.12-slim-trixie
COPY --from=build /opt/voicegw /opt/voicegw
ENV PATH=/opt/voicegw/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /etc/voicegw
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]

# 0.0.0.0 is reachable from other machines, so the gateway starts only if the file exists and holds a key.
ENTRYPOINT ["voicegw"]
CMD ["serve", "--config", "/etc/voicegw/voicegw.toml", "--host", "0.0.0.0", "--port", "8080"]
