# The light install without a GPU: the retriever, the embedded LLM server, infer.sh with PROFILE=small, cpu or server.
#   docker build -f deploy/containers/laptop.Dockerfile -t rearag-lab:laptop .
#   docker run --rm -v "$PWD/runs:/app/runs" -v "$PWD/.cache:/app/.cache" rearag-lab:laptop bash infer.sh
# It was linted and not built here (docs/clusters.md).
FROM python:3.12-slim-bookworm
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 REARAG_CACHE=/app/.cache
WORKDIR /app
RUN useradd --create-home --uid 1000 app && chown app:app /app
USER 1000
# The packages first: a change of the code leaves this layer as it is. setup.sh finds them complete later.
COPY --chown=app:app requirements-local.txt ./
COPY --chown=app:app scripts/setup.sh scripts/
COPY --chown=app:app deploy/ deploy/
RUN bash scripts/setup.sh requirements-local.txt
COPY --chown=app:app . .
CMD ["bash", "infer.sh"]
