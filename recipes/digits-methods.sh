#!/bin/sh
# Further rows of the digits benchmark, beside those of recipes/digits.sh, whose finished runs are taken over: other
# transfer losses and the quadratic estimate. The weights are the usual ones in a batch of 256, of the target alone for
# SHOT: docs/digits.md. Some 20 minutes on 2 cores after `make demo`.
set -e
sh recipes/digits.sh --also coral "--transfer-weight 12800" --also dann "--transfer-weight 128" \
    --also cdan "--transfer-weight 128" --also mcc "--transfer-weight 128" --also bnm "--transfer-weight 128" \
    --also shot_im "--transfer-weight 256" --also shot "--transfer-weight 256" \
    --also jmmd "--estimate quadratic" --also mmd "--estimate quadratic" "$@"
