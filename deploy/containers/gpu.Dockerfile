# The GPU node: vLLM, FAISS on GPUs, encoders and training, from requirements.txt (a driver for CUDA 13 on the host).
#   docker build -f deploy/containers/gpu.Dockerfile -t rearag-lab:gpu .
#   docker run --rm --gpus all --shm-size 16g -v /data/models:/models rearag-lab:gpu .venv/bin/vllm serve /models/…
# The wheels bring the CUDA libraries; the base needs glibc 2.35 or newer (bookworm has 2.36) and a C compiler, with
# which Triton builds its launchers. It was linted and not built here (docs/clusters.md).
FROM python:3.12-slim-bookworm
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 HF_HOME=/models/hub
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /app
RUN useradd --create-home --uid 1000 app && mkdir /models && chown app:app /app /models
USER 1000
COPY --chown=app:app requirements.txt ./
COPY --chown=app:app scripts/setup.sh scripts/
COPY --chown=app:app deploy/ deploy/
RUN bash scripts/setup.sh requirements.txt
COPY --chown=app:app . .
CMD ["bash", "deploy/status.sh"]
