#!/bin/sh
# Bottleneck features of a data set, and a classifier without a hidden layer on them: the files cifar-10-bottleneck.sh and
# gtsrb-bottleneck.sh say which data set, as DATASET and LISTS.
# model/vgg16_caffe is vgg16.npy through tools/import_weights.py; model/inceptionv3 and model/resnet50_v1 come from
# tools/get_model.py, trained by gluoncv's authors: other weights than Keras's, with which the figures were published.
# Features are the averages over the image of what the last convolution gives. 100 images a class train; validation keeps
# all of its part. Images of 32 × 32 are resized to 224 × 224, for Inception 299 × 299. Other than published: by cubic
# interpolation, and ResNet's normalisation uses its trained statistics, not those of each batch.
# NETWORKS=vgg before the command runs one of the three. On packs that the course hands out, only the last step is needed:
#     python train_classifier.py --training-file vgg_cifar10_100_bottleneck_features_train.p \
#         --validation-file vgg_cifar10_bottleneck_features_validation.p --epochs 50 --batch-size 256
set -e
python tools/im2rec_helpers.py dataset "$DATASET" data "$LISTS" --per-class 100
for network in ${NETWORKS:-vgg inception resnet}; do
    case $network in
        vgg) model=vgg16_caffe layer=pool5_average ;;
        inception) model=inceptionv3 layer=flatten0 ;;
        resnet) model=resnet50_v1 layer=flatten0 ;;
    esac
    out=runs/$DATASET-bottleneck/$network
    for part in source val; do
        python extract_features.py --model model/$model --epoch 0 --layer $layer --val-resize squeeze \
            --lst "$LISTS/$part.lst" --out $out/$part.npz ${GPUS:+--gpu $GPUS}
    done
    python train_classifier.py --training-file $out/source.npz --validation-file $out/val.npz --optimizer adam \
        --lr 0.001 --epochs 50 --batch-size 256 --model-prefix $out/classifier "$@"
done
