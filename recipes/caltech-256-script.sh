#!/bin/sh
# The same from ResNet-152 by the settings of MXNet's script example/image-classification/fine-tune.py: 30 epochs, a tenth
# of the rate after 20, the mean of ImageNet's colours subtracted. Published with it: 87.3 %.
set -e
sh recipes/caltech-256-152.sh --model-prefix runs/caltech-256/script --num-epochs 30 --lr-step-epochs 20 \
    --lr-factor 0.1 --rgb-mean 123.68,116.779,103.939 "$@"
