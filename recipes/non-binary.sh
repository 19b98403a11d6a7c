#!/bin/sh
# The one command that the README of Non-binary deep transfer learning (arXiv 2107.08585) gives for all its data sets,
# in our flags (docs/fine-tuning.md): the files non-binary-*.sh add a data set. The paper chose --new-layers, the three
# rates and L2-SP for each data set; those settings are not in its published sources, and are not invented here.
# L2-SP is what the published code does, whatever rate it is told; as its README says it: --l2sp 0.1.
# model/inception_v4 is timm's inceptionv4-8e4777a0.pth through tools/import_weights.py.
set -e
GPUS=${GPUS-0}      # GPUS= is the CPU
python fine_tune.py --pretrained-model model/inception_v4 --image-shape 3,299,299 --val-resize 341 --top-k 5 \
    --new-layers 1 --new-init torch --lr 0.03,0.03,0.03 --num-lowlrs 8 --lr-step-every 10 --lr-factor 0.9 \
    --warmup-epochs 3 --warmup-lr 0.0001 --optimizer nag --mom 0.9 --wd 0.0005 --wd-on all --l2sp-published \
    --mixup 0.2 --label-smoothing 0.1 --aa rand-m9-mstd0.5-inc1 --reprob 0.5 --remode pixel --augmentation bytes \
    --num-epochs 800 --batch-size 32 --data-nthreads 16 --keep 10 --seed 42 ${GPUS:+--gpus $GPUS} "$@"
