#!/usr/bin/env python3
"""Fetch a known pretrained network as a checkpoint to start from: ``tools/get_model.py imagenet11k-resnet-152``."""

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.types import FOLDER, PATH

import click

from transfer_gluon.base.errors import InputError


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("List the networks that there are", ""),
    ("The network that the published table starts from", "imagenet11k-resnet-152"),
    ("One of gluoncv's, from a mirror in a folder", "resnet50_v1d --mirror /mnt/mirror"),
    ])
@click.argument("name", required=False)
@click.option("--output", "folder", type=FOLDER, default="model", help="Folder to write to.")
@click.option("--mirror", type=PATH, envvar="TRANSFER_GLUON_MIRROR", show_envvar=True, default=None,
              help="Site or folder that has the files under the same paths.  [default: the publisher's site]")
@click.option("--sha256", default=None,
              help="What the parameter file's SHA-256 must be.  [default: as SHA256SUMS beside it says, if there]")
def main(name, folder, mirror, sha256):
    """Fetch the pretrained network NAME, of MXNet's model gallery or gluoncv's model zoo. Without a name: list them.

    A transfer that breaks off goes on from there when you call it again.
    """
    from transfer_gluon.exchange.gallery import GALLERY, get_model
    from transfer_gluon.exchange.zoo_files import get_zoo_model, pretrained_names

    names = [*GALLERY, *pretrained_names()]
    if not name:
        print("\n".join(names))
        return
    if name not in names:
        raise InputError(f"{name}: not a known network. There are:\n" + " ".join(names))
    if name in GALLERY:
        fetched = get_model(name, folder, mirror, sha256)
    elif sha256:
        raise InputError(f"--sha256 was given for {name}, which gluoncv's own SHA-1 is compared with; leave it out.")
    else:
        fetched = get_zoo_model(name, folder, mirror)
    print(f"{fetched.prefix}: start from it by --pretrained-model {fetched.prefix} --pretrained-epoch 0")
    whose = "--sha256" if fetched.checked == "sha256" else fetched.checked
    print(f"SHA-256 {fetched.sha256}: " + (f"as {whose} says" if whose else
          "not compared, since its publisher never told one; give it as --sha256 when you fetch the file again"))


if __name__ == "__main__":
    exit_codes(main)()
