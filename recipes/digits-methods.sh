#!/bin/sh
# Further rows of the digits benchmark, beside those of recipes/digits.sh, whose finished runs are taken over: other
# transfer losses and the quadratic estimate. Weights: docs/digits.md. Some 9 minutes on 2 cores after `make demo`.
set -e
sh recipes/digits.sh --also coral "--transfer-weight 12800" --also dann "--transfer-weight 128" \
    --also jmmd "--estimate quadratic" --also mmd "--estimate quadratic" "$@"
