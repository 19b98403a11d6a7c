#!/bin/sh
# Caltech-256, plain fine-tuning of MXNet's ResNet-50 (ImageNet-1k), as in MXNet's document 'Fine-tune with Pretrained
# Models'. Published: 77.4 % after 8 epochs.
# data/256_ObjectCategories is the archive as it unpacks, model/imagenet1k-resnet-50 comes from tools/get_model.py.
# 60 images a class by chance train, the rest validates; raw RGB, which the network normalises itself. The document counts
# 256 classes and packs 257 folders: 257.clutter is left out here.
set -e
GPUS=${GPUS-0,1,2,3,4,5,6,7}        # 16 images a GPU; GPUS= is the CPU
lists=data/lists/caltech-256
python tools/im2rec_helpers.py dataset caltech256 data $lists --per-class 60
python tools/im2rec_helpers.py pack $lists/source.lst $lists/val.lst --resize 256 --encoding jpg --quality 90
python fine_tune.py --data-dir $lists --num-classes 256 --model-prefix runs/caltech-256/resnet-50 \
    --pretrained-model model/imagenet1k-resnet-50 --image-shape 3,224,224 --train-resize 256 --val-resize 256 \
    --crop plain --color-jitter 0 --pca-noise 0 --lr 0.01 --mom 0 --wd 0 --num-epochs 8 --batch-size 128 \
    ${GPUS:+--gpus $GPUS} "$@"
