#!/bin/sh
# GTSRB by bottleneck features of VGG-16, Inception-v3 and ResNet-50; recipes/bottleneck.sh says what is done.
# Published as `python feature_extraction.py --training_file vgg_traffic_100_bottleneck_features_train.p
# --validation_file vgg_traffic_bottleneck_features_validation.p` and the like, after 50 epochs: VGG 86.66 %, Inception
# 75.19 %, ResNet 81.08 % of a third of the images. data/train.p is the pack of the course.
set -e
DATASET=gtsrb LISTS=data/lists/gtsrb-bottleneck sh recipes/bottleneck.sh "$@"
