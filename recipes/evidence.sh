#!/bin/sh
# The evidence for a choice without labels: six pairs of domains, fifteen methods and weights, five seeds; every score of
# every epoch. `make evidence` runs it; docs/evidence.md tells what came out, and how the settings were chosen.
set -e
PACKAGES=${PACKAGES-data/packages}
export PACKAGES
sh recipes/emoji-packages.sh
data=data/evidence
made() { [ -e "$data/$1/val.lst" ]; }
emoji() {
    python tools/emoji.py "$PACKAGES/emoji-datasource-$1-16.0.0.tgz" "$PACKAGES/emoji-datasource-$2-16.0.0.tgz" \
        --data-dir "$data/$1-$2"
}
made printed-handwritten || python tools/digits.py --data-dir $data/printed-handwritten --num-source 1500
made handwritten-printed || python tools/digits.py --data-dir $data/handwritten-printed --num-source 1500 --seed 1 --back
made upright-slanted || python tools/letters.py --data-dir $data/upright-slanted --number 1560
made twitter-facebook || emoji twitter facebook
made facebook-twitter || emoji facebook twitter
made clean-degraded || python tools/degrade.py $data/twitter-facebook/twitter --data-dir $data/clean-degraded
python tools/evidence.py --data-dir $data --jobs 2 "$@"
