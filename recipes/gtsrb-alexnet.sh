#!/bin/sh
# GTSRB, 43 traffic signs of 32 × 32 pixels, by a new classifier on Caffe's AlexNet, frozen up to its second layer of 4096
# units. Published as `python train_feature_extraction.py`, without a figure.
# data/train.p is the pack of the course, model/bvlc_alexnet is bvlc-alexnet.npy through tools/import_weights.py.
# 67 % of each class train, 33 % validate; whole images resized to 227 × 227, nothing changed by chance; nothing is dropped,
# nor computed backward, in what is frozen. Other than published: the mean is subtracted, images are resized by cubic
# interpolation, the first convolution is not padded.
set -e
lists=data/lists/gtsrb
python tools/im2rec_helpers.py dataset gtsrb data $lists
python fine_tune.py --data-dir $lists --num-classes 43 --pretrained-model model/bvlc_alexnet --image-shape 3,227,227 \
    --train-resize squeeze --val-resize squeeze --random-crop 0 --random-mirror 0 --color-jitter 0 --pca-noise 0 \
    --augmentation bytes --freeze --trainable fc --frozen-statistics inference --new-init truncated \
    --optimizer adam --lr 0.001 --batch-size 128 --num-epochs 10 --model-prefix runs/gtsrb-alexnet/alexnet ${GPUS:+--gpus $GPUS} "$@"
