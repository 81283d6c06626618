# Two stages: the first fetches and builds with hashes checked, the second holds only what runs.

FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src

# Every download is checked against its hash; the build tools among them never leave this stage.
COPY requirements.lock ./
RUN python -m venv /tools \
 && pip download --require-hashes --only-binary :all: --dest /wheels -r requirements.lock \
 && /tools/bin/pip install --require-hashes --no-index --find-links /wheels -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY voicegw voicegw
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && python -m venv --without-pip /opt/voicegw \
 && pip --python /opt/voicegw install --no-index --find-links /wheels voicegw

FROM python:3.12-slim
COPY --from=build /opt/voicegw /opt/voicegw
ENV PATH=/opt/voicegw/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /etc/voicegw
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]

# Others can reach this address, so the file must hold a key; without one, or without the file, nothing starts.
ENTRYPOINT ["voicegw"]
CMD ["serve", "--config", "/etc/voicegw/voicegw.toml", "--host", "0.0.0.0", "--port", "8080"]
