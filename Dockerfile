# ames-ray on Ray's own image, for `ray up` (docker.image in cluster.yaml) and KubeRay (configs/cluster/).
#
#   docker build -t REGISTRY/ames-ray:2.60.0-py311-gpu .
#   docker build -t REGISTRY/ames-ray:2.60.0-py311-cpu --build-arg BASE=rayproject/ray:2.60.0-py311-cpu .
#
# The base must carry the Ray and the Python of constraints.txt. Not verified: that its tag exists, and the
# build itself; the same pip command is what `make` runs.
ARG BASE=rayproject/ray:2.60.0-py311-gpu
FROM ${BASE}

WORKDIR /home/ray/ames-ray
COPY --chown=ray:users . .
RUN pip install --no-cache-dir --constraint constraints.txt --editable '.[serve]'

# Every Ray process refuses whoever does not know the cluster's token.
ENV RAY_AUTH_MODE=token \
    RAY_USAGE_STATS_ENABLED=0
