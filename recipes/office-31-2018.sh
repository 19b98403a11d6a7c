#!/bin/sh
# Office-31, source only, by the recipe of June 2018: squeezed images, no crop, no mirroring, a falling rate, the last of
# 200 epochs. Published (A → W): AlexNet 51 %, ResNet-50 67 %. Folders and networks as for recipes/office-31.sh;
# docs/fine-tuning-office.md says what it is made of.
# NETWORKS=resnet50 before the command runs one of them.
set -e
GPUS=${GPUS-0}      # GPUS= is the CPU
for network in ${NETWORKS:-alexnet resnet50}; do
    side=224
    if [ $network = alexnet ]; then side=227; fi
    python reproduce.py --domains data/office-31 ${GPUS:+--gpus $GPUS} --output runs/office-31-2018/$network \
        --common "--image-shape 3,$side,$side --train-resize squeeze --val-resize squeeze --random-crop 0" \
        --common "--random-mirror 0 --color-jitter 0 --pca-noise 0 --augmentation bytes" \
        --stage0 "--pretrained-model model/$network --new-init torch --lr 0.0001 --head-lr-mult 10" \
        --stage0 "--lr-schedule inv --lr-gamma 10 --lr-power 0.75 --warmup-epochs 1 --warmup-lr 0.001" \
        --stage0 "--wd 0.0005 --wd-on all --num-epochs 200 --batch-size 64 --keep 1" "$@"
done
