#!/bin/sh
# Office-31, source only, by the recipe of 2020: every image of one domain trains but a fifth, which chooses the epoch;
# all images of the other are the test. Published (A → W; mean of six pairs): AlexNet 51.3 %, 63.0 %; ResNet-50 76.7 %,
# 79.2 %. data/office-31 holds amazon, dslr and webcam, as they are unpacked; model/alexnet and model/resnet50 are
# torchvision's weights through tools/import_weights.py. docs/fine-tuning-office.md says what it is made of.
# NETWORKS=resnet50 before the command runs one of them.
set -e
GPUS=${GPUS-0}      # GPUS= is the CPU
for network in ${NETWORKS:-alexnet resnet50}; do
    python reproduce.py --domains data/office-31 ${GPUS:+--gpus $GPUS} --output runs/office-31/$network \
        --common "--image-shape 3,224,224 --val-resize 224 --color-jitter 0 --pca-noise 0" \
        --stage0 "--pretrained-model model/$network --new-init normal --lr 0.0001 --head-lr-mult 10" \
        --stage0 "--num-epochs 100 --batch-size 64 --source-validation 0.2 --keep best --early-stop 20" "$@"
done
