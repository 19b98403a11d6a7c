#!/bin/sh
# The emoji benchmark: Twitter's drawings to Facebook's, from EfficientNet-Lite0 with its ImageNet weights, end to end and
# on features that are computed once. `make demo-emoji` runs it; how the settings were chosen stands in docs/emoji.md.
set -e
sh recipes/emoji-packages.sh
sh recipes/emoji-data.sh

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
