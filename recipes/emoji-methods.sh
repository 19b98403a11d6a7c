#!/bin/sh
# All methods on the emoji benchmark, on features that are computed once, each with its usual weight: docs/emoji.md.
# `make demo-emoji-methods` runs it; DAN and JAN stand there by both estimates.
set -e
sh recipes/emoji-packages.sh
sh recipes/emoji-data.sh
one="--relative-transfer-weight 1"
python reproduce.py --data-dir data/emoji --num-classes 50 --output runs/emoji/methods --jobs 2 \
    --common "--image-shape 3,96,96 --min-random-area 0.25 --data-nthreads 1 --read features --feature-views 3" \
    --stage0 "--pretrained-model model/efficientnet-lite0 --bottleneck 256 --lr 0.01 --num-epochs 10 --batch-size 64" \
    --stage1 "--lr 0.01 --num-epochs 4 --batch-size 128 --relative-transfer-weight 0.5" \
    --adabn "--image-shape 3,96,96 --statistics pixel --data-nthreads 1" \
    --also mmd "--estimate quadratic" --also jmmd "--estimate quadratic" --also coral "--relative-transfer-weight 100" \
    --also dann "$one" --also cdan "$one" --also mcc "$one" --also bnm "$one" --also shot_im "$one" --also shot "$one" "$@"
