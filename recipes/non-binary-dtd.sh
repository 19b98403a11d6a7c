#!/bin/sh
# Non-binary transfer to the Describable Textures, split 1: labels/train1.txt trains, labels/val1.txt validates.
# data/dtd is the archive as it unpacks.
# Published, read off the figure in the code's README: 77.3 % by default, 78.9 % with the best settings, which are not
# told; on what images is not told either.
set -e
lists=data/lists/non-binary-dtd
python tools/im2rec_helpers.py dataset dtd data $lists
sh recipes/non-binary.sh --data-dir $lists --num-classes 47 --model-prefix runs/non-binary/dtd "$@"
