# The hospital's CPU service: no torch, no compiler, not root.
#   docker build -t lvo .
#   docker run -p 8000:8000 -v lvo-work:/work -v ./network.yaml:/app/configs/pathway/network.yaml \
#     -e LVO_NETWORK=configs/pathway/network.yaml -e LVO_WEBHOOK_SECRET_… lvo
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

# The lock changes less often than the code: this layer is kept between builds.
COPY requirements.lock ./
RUN pip install -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY lvo ./lvo
COPY models ./models
COPY configs ./configs
RUN pip install --no-deps --no-build-isolation .

RUN useradd --system --uid 10001 --no-create-home lvo && install -d -o lvo -g lvo -m 700 /work
USER lvo
VOLUME /work
ENV LVO_HOST=0.0.0.0 LVO_PORT=8000 LVO_WORK_DIR=/work LVO_DEVICE=cpu
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"LVO_PORT\"]}/livez', timeout=4)"]
CMD ["lvo", "serve"]
