# On a CPU:    docker build -t chemscale .
# On a GPU:    docker build -t chemscale --build-arg TORCH_INDEX=https://pypi.org/simple .
# Then:        docker run --rm -v "$PWD:/data" [--gpus all] chemscale study --task moses-lm --hours 2

# Not the slim image: on a GPU Triton compiles its launchers with gcc.
FROM python:3.12
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /opt/chemscale-bench
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt --index-url "$TORCH_INDEX" torch
COPY . ./
RUN pip install --no-cache-dir --constraint constraints.txt .

# Runs, artifacts and prepared data stay on the host.
ENV CHEMSCALE_HOME=/data/.chemscale MLFLOW_TRACKING_URI=sqlite:////data/mlflow.db
WORKDIR /data
ENTRYPOINT ["chemscale"]
