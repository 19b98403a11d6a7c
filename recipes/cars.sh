#!/bin/sh
# The published table: web photos of 263 car models to surveillance photos (CompCars-SV), with the original flags.
# Published: CNN 68.7 %, AdaBN 71.6 %, DAN 73.7 %, JAN 78.9 %. README.md says what goes into data/ and model/.
set -e
GPUS=${GPUS-0,1,2,3}        # GPUS= is the CPU
python reproduce.py --data-dir data --num-classes 263 ${GPUS:+--gpus $GPUS} --output runs/cars --published "$@"
