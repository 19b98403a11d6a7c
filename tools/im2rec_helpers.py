#!/usr/bin/env python3
"""Prepare data: lists of images, and the RecordIO files that training reads."""
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Group, exit_codes
from transfer_gluon.cli.types import FILE, NUM_THREADS, PATH, FilePath, Number, refuse_idle

import click

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.files import writable_folder
from transfer_gluon.base.log import log_to_stderr
from transfer_gluon.iters.image_list import MOST_LABEL, NULL_LABEL, read_list
from transfer_gluon.records.class_names import classes_beside, read_classes
from transfer_gluon.records.describe import describe, repeated
from transfer_gluon.records.encoding import ENCODINGS, MOST_RESIZE, Options
from transfer_gluon.records.folders import read_images
from transfer_gluon.records.make_list import list_folder, mask_list, split_list
from transfer_gluon.records.published import PUBLISHED, list_published

NULL = click.option("--null-label", type=click.IntRange(0, MOST_LABEL), default=NULL_LABEL,
                    help="The label that means 'unknown'.")
SEED = click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the choice.")
THREADS = click.option("--threads", type=NUM_THREADS, default=4, help="Images read at the same time.")
CLASSES = click.option("--classes", type=FILE, default=None, help="A classes.txt: the name of each label, in order.")


@click.group(cls=Group, context_settings=CONTEXT, examples=[
    ("A list of photos that lie in a folder a class", "list photos/street data/street.lst"),
    ("A fifth of it to judge by", "split data/street.lst data/adapt.lst data/val.lst --fraction 0.8"),
    ("Can all images be read?", "verify data/source.lst data/val.lst"),
    ])
def commands():
    """Prepare data: lists of images, and the RecordIO files that training reads.

    A list (.lst) has a line an image: index, label, path, separated by tabs. All files are MXNet's own formats.
    """
    log_to_stderr()


@commands.command("list", examples=[
    ("One folder a class: labels follow the alphabet, which data/classes.txt keeps", "photos/web data/source.lst"),
    ("The same labels for another domain", "photos/street data/street.lst --classes data/classes.txt"),
    ("Photos whose classes nobody knows", "photos/street data/target.lst --unlabelled"),
    ])
@click.argument("folder", type=FilePath(exists=True, file_okay=False))
@click.argument("path", metavar="LIST", type=FILE)
@CLASSES
@click.option("--unlabelled", is_flag=True, help="All images get the null label; FOLDER needs no class folders.")
@NULL
def list_command(folder, path, classes, unlabelled, null_label):
    """Write LIST of the images in FOLDER, which has a folder a class, and classes.txt beside it.

    Labels follow the alphabet, or --classes. Paths begin with FOLDER as it is given: call this where you train.
    """
    refuse_idle({"classes": "with --unlabelled"} if unlabelled else {"null_label": "without --unlabelled"})
    writable_folder(path, "path")
    labels, _ = list_folder(folder, path, classes, null_label if unlabelled else None)
    print(f"{path}: {len(labels)} images, {'no labels' if unlabelled else f'{len(set(labels))} classes'}")


@commands.command("dataset", examples=[
    ("The lists of published runs, of what was unpacked to a folder", "caltech256 256_ObjectCategories data/caltech"),
    ])
@click.argument("name", type=click.Choice(list(PUBLISHED)))
@click.argument("folder", type=FilePath(exists=True, file_okay=False))
@click.argument("output", type=FilePath(file_okay=False))
@click.option("--clutter", is_flag=True, help="caltech256: 257.clutter is a class, too.")
@click.option("--per-class", type=click.IntRange(min=1), default=None,
              help="caltech256: so many images of each class, by chance, to source.lst and all others to val.lst, "
                   "instead of images 1 to 30 and 31 to 50. gtsrb, cifar10: so many of those that train, by chance, "
                   "are left; val.lst keeps all.")
@SEED
def dataset_command(name, folder, output, clutter, per_class, seed):
    """Write source.lst, val.lst, for flowers test.lst, and classes.txt of a published data set to the folder OUTPUT.

    FOLDER is where its archives were unpacked. Which images train and which validate: docs/fine-tuning.md, and of
    flowers, gtsrb and cifar10 docs/data.md. Images of packs (gtsrb, cifar10) are written to OUTPUT/images.
    """
    if per_class is None and name in ("caltech256", "cars", "aircraft", "dtd"):
        refuse_idle({"seed": "without --per-class"})
    classes, training, *others = list_published(name, folder, output, clutter, per_class, seed)
    uses = "".join(f", {number} to {use}" for number, use in zip(others, ("validate on", "test on")))
    print(f"{output}: {classes} classes, {training} images to train on{uses}")


@commands.command("split", examples=[
    ("A fifth of each class to judge by", "data/street.lst data/adapt.lst data/val.lst --fraction 0.8"),
    ("Three images of each class", "data/street.lst data/few.lst data/rest.lst --per-class 3"),
    ])
@click.argument("list_path", metavar="LIST", type=FILE)
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@click.option("--fraction", type=Number(0, 1), default=None, help="Part of each class that goes to FIRST.")
@click.option("--per-class", type=click.IntRange(min=1), default=None, help="Images of each class that go to FIRST.")
@SEED
def split_command(list_path, first, second, fraction, per_class, seed):
    """Divide LIST into the lists FIRST and SECOND, class by class and by chance.

    The same file under two paths, and two files of the same bytes, never end in different lists.
    """
    if (fraction is None) == (per_class is None):
        raise InputError("expected either --fraction or --per-class.")
    images = read_list(list_path)
    for path, number in zip((first, second), split_list(images, first, second, fraction, per_class, seed)):
        print(f"{path}: {number} images")


@commands.command("mask", examples=[
    ("No labels at all", "data/adapt.lst data/target.lst"),
    ("Three known labels of each class", "data/adapt.lst data/target.lst --keep-per-class 3"),
    ])
@click.argument("list_path", metavar="LIST", type=FILE)
@click.argument("path", metavar="OUTPUT", type=FILE)
@click.option("--keep", type=click.IntRange(min=0), default=None, help="Labels to keep in all.  [default: 0]")
@click.option("--keep-per-class", type=click.IntRange(min=1), default=None, help="Labels to keep of each class.")
@SEED
@NULL
def mask_command(list_path, path, keep, keep_per_class, seed, null_label):
    """Write LIST to OUTPUT with the null label in place of labels: an unlabelled target domain."""
    if keep is not None and keep_per_class is not None:
        raise InputError("--keep and --keep-per-class were both given; expected one of them.")
    if not (keep or keep_per_class):
        refuse_idle({"seed": "without labels to keep"})
    images = read_list(list_path, null_label=null_label)
    kept = mask_list(images, path, keep or 0, keep_per_class, seed)
    print(f"{path}: {len(images)} images, {kept} with a label")


@commands.command("pack", examples=[
    ("Ahead of training, large photos smaller", "data/source.lst data/target.lst --resize 512"),
    ("Paths of the list are relative to another folder", "data/source.lst --root /mnt/photos"),
    ])
@click.argument("lists", nargs=-1, required=True, type=FILE)
@THREADS
@click.option("--resize", default=0, type=click.IntRange(0, MOST_RESIZE),
              help="Shorter side, in pixels, that larger images are reduced to; 0: no change.")
@click.option("--encoding", type=click.Choice(ENCODINGS), default="as-is",
              help="as-is: files byte for byte where MXNet's reader shows them as they look and --resize does not "
                   "change them. jpg, png: all encoded anew.")
@click.option("--quality", default=95, type=click.IntRange(1, 100), help="Of JPEGs that are encoded.")
@click.option("--root", type=FilePath(file_okay=False), default=None,
              help="Folder that paths in LISTS are relative to.  [default: the working folder]")
@click.option("--resume", is_flag=True, help="Go on where a run that was killed has stopped.")
@click.option("--overwrite", is_flag=True, help="Replace records that were not packed by this command, too.")
def pack_command(lists, threads, resize, encoding, quality, root, resume, overwrite):
    """Pack each of LISTS to .rec and .idx beside it. Records that are up to date are left alone."""
    from transfer_gluon.records.packing import is_packed, pack  # which import OpenCV

    if encoding == "png" or encoding == "as-is" and not resize:
        refuse_idle({"quality": f"with --encoding {encoding}{' and no --resize' * (encoding == 'as-is')}"})
    options = Options(resize, encoding, quality, root or "")
    for path in lists:
        images = read_list(path)
        print(images.record if is_packed(images, options)
              else pack(images, threads, options, resume=resume, overwrite=overwrite))


@commands.command("verify", examples=[
    ("Before a long run", "data/source.lst data/target.lst data/val.lst --num-classes 31 --crop 224"),
    ("A record", "data/source.rec"),
    ])
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option("--num-classes", type=click.IntRange(min=1), default=None, help="Labels must be below this number.")
@click.option("--crop", type=click.IntRange(1, MOST_RESIZE), default=None,
              help="Larger side of the --image-shape to train with: strips that are too thin for it are named, too.")
@THREADS
@NULL
def verify_command(files, num_classes, crop, threads, null_label):
    """Check every image of FILES, .rec, .lst or folders, and name images that are there more than once.

    Exit code 2 if there are images that cannot be used.
    """
    from transfer_gluon.iters.elsewhere import elsewhere
    from transfer_gluon.records.check import examine, image_paths

    if num_classes is None:
        refuse_idle({"null_label": "without --num-classes"})
    found, problems, paths, hint = {}, [], {}, ""
    for path in files:
        found[path] = list(examine(path, threads, num_classes, null_label, crop))
        bad = [finding for finding in found[path] if finding.problem]
        print(f"{path}: {len(found[path])} images, {len(bad)} bad")
        paths[path] = image_paths(path, null_label)
        for finding in bad:
            image = paths[path].get(finding.index, finding.where)
            problems.append(f"{path}: {finding}" + (f" ({image})" if image != finding.where else ""))
        if Path(path).suffix == ".lst":
            hint = hint or elsewhere(path, [finding.where for finding in bad])
    for (one, other), pairs in repeated(found).items():
        where = f"twice in {one}" if one == other else f"in both {one} and {other}"
        same = [" = ".join(f"index {index}, {paths[path][index]}" if index in paths[path] else f"index {index}"
                           for path, index in ((one, a), (other, b))) for a, b in pairs]
        print(f"{len(pairs)} images are {where}:{first_ten(same)}")
    if problems:
        raise InputError(f"{len(problems)} images cannot be used:{first_ten(problems)}" + hint.replace(" ", "\n", 1))


@commands.command("info", examples=[
    ("What a list holds, as text and as a picture", "data/source.lst --sheet sheet.png --classes data/classes.txt"),
    ])
@click.argument("path", metavar="FILE", type=PATH)
@click.option("--sheet", "picture", type=FILE, default=None, help="PNG to write: ten images of every class.")
@click.option("--classes", type=FILE, default=None,
              help="The name of each label, a line each, in order.  [default: classes.txt beside FILE, if it is there; "
                   "of a folder, its own folders]")
@THREADS
@NULL
def info_command(path, picture, classes, threads, null_label):
    """Describe FILE, .rec, .lst or a folder: images a class, sizes, kinds, and what they look like."""
    from transfer_gluon.records.check import examine
    from transfer_gluon.records.contact_sheet import contact_sheet

    folder = Path(path).is_dir()
    classes = classes or (None if folder else classes_beside(path))
    names = read_classes(classes) if classes else None
    source = read_images(path, null_label=null_label, classes=names) if folder else path
    names = source.classes if folder else names
    if picture:
        if Path(picture).resolve() in {Path(read).resolve() for read in (path, classes) if read}:
            raise InputError(f"--sheet is {picture}, which is read from, and would be replaced; give another name.")
        writable_folder(picture, "picture")
    findings = list(examine(source, threads, null_label=null_label))
    print(describe(findings, null_label, names))
    if picture:
        labels = {finding.index: finding.label for finding in findings if finding.label is not None}
        more = contact_sheet(source, picture, labels, null_label, names)
        print(f"{picture}: {f'all but the last {more}' if more else 'all'} classes")


@commands.command("unpack", examples=[
    ("A record, to a folder a class", "data/source.rec photos/source --classes data/classes.txt"),
    ])
@click.argument("record", type=FILE)
@click.argument("folder", type=FilePath(file_okay=False))
@CLASSES
@NULL
def unpack_command(record, folder, classes, null_label):
    """Write the images of RECORD to FOLDER, a folder a class, and their list to FOLDER.lst."""
    from transfer_gluon.records.unpack import unpack

    print(unpack(record, folder, classes, null_label))


if __name__ == "__main__":
    exit_codes(commands)()
