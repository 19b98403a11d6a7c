#!/bin/sh
# The same as recipes/caltech-256.sh from ResNet-152 (ImageNet-11k), which is model/resnet-152. Published: 86.4 % after
# 8 epochs, 83 % after the first.
set -e
sh recipes/caltech-256.sh --pretrained-model model/resnet-152 --model-prefix runs/caltech-256/resnet-152 "$@"
