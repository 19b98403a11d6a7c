#!/bin/sh
# The two domains of the emoji benchmark in data/emoji, from the packages that recipes/emoji-packages.sh has fetched.
set -e
PACKAGES=${PACKAGES-data/packages}
[ -e data/emoji/val.lst ] ||
    python tools/emoji.py "$PACKAGES"/emoji-datasource-twitter-16.0.0.tgz \
        "$PACKAGES"/emoji-datasource-facebook-16.0.0.tgz --data-dir data/emoji
