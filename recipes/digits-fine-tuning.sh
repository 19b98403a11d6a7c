#!/bin/sh
# What regularisation changes on the digits, beside the rows of recipes/digits.sh: an average of the weights over ten
# seeds; mixup, L2-SP and the average over five; class weights over five, where the printed digits are 400 zeros, fewer of
# each higher digit, and 13 nines. No setting of it was tuned. docs/digits.md has the tables. Some 40 minutes on 2 cores.
set -e
sh recipes/digits.sh --output runs/digits-fine-tuning --seeds 10 --also jmmd "--ema 0.99" "$@"
sh recipes/digits.sh --output runs/digits-fine-tuning --seeds 5 --also cnn "--ema 0.99" --also cnn "--mixup 0.2" \
    --also jmmd "--ema 0.99" --also jmmd "--mixup 0.2" --also jmmd "--l2sp 0.01" "$@"
python tools/digits.py --data-dir data/digits-unequal --unequal
sh recipes/digits.sh --data-dir data/digits-unequal --output runs/digits-unequal --seeds 5 \
    --stage0 "--lr-step-epochs 12,15 --num-epochs 18" \
    --also cnn "--class-weights balanced" --also jmmd "--class-weights balanced" "$@"
