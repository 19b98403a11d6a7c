#!/bin/sh
# The digits benchmark: printed digits to handwritten ones. `make demo` runs it; how the settings were chosen
# stands in docs/digits.md.
set -e
python tools/digits.py --data-dir data/digits
python reproduce.py --data-dir data/digits --num-classes 10 --jobs 2 --published \
    --common "--image-shape 3,20,20 --random-crop 0 --random-mirror 0 --data-nthreads 1 --lr-step-unit epoch" \
    --stage0 "--network resnet --num-layers 8 --lr 0.05 --lr-step-epochs 4,5 --num-epochs 6 --batch-size 64" \
    --stage1 "--lr 0.1 --lr-step-epochs 14,17 --num-epochs 20 --batch-size 256 --transfer-weight 64" \
    --adabn "--image-shape 3,20,20 --statistics pixel --data-nthreads 2" "$@"

# A page on the runs of the first seed, by the last --data-dir and --output of "$@".
data=data/digits output=runs/digits before=
for word; do
    case $before in --data-dir) data=$word ;; --output) output=$word ;; esac
    case $word in --data-dir=*) data=${word#*=} ;; --output=*) output=${word#*=} ;; esac
    before=$word
done
python report.py "$output/seed0/dan" "$output/seed0/jan" --data-dir "$data" --max-images 1000 --data-nthreads 2 \
    --title "Printed digits to handwritten ones" --out "$output/report.html"
