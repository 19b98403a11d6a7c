"""Every ordered pair of domains, each a folder of class folders: trained on the one, judged on the other."""
import itertools
from pathlib import Path

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.files import writable_folder
from transfer_gluon.iters.image_list import read_list, write_list
from transfer_gluon.records.class_names import write_classes
from transfer_gluon.records.make_list import list_folder
from transfer_gluon.trials.methods import further_rows
from transfer_gluon.trials.trial import Trial, training_command


def list_domains(folder, output):
    """Write a list a domain, ``DOMAIN.lst``, with the same labels in all, and ``classes.txt``, which names them.

    Parameters
    ----------
    folder : str or Path
        Holds a folder a domain, and in it, or in a folder ``images`` that lies there alone, a folder a class. Its
        hidden folders are left out.
    output : str or Path

    Returns: a dict from the domains' names to `ImageList`, by the alphabet, and the number of classes.

    Raises: InputError for fewer than two domains, and for classes that one of them lacks; as `list_folder`.
    """
    places = {place.name: _class_folders(place) for place in _folders(folder)}
    if len(places) < 2:
        raise InputError.of("domains", str(folder), "a folder with two folders or more, one a domain",
                            f"It has {', '.join(places) or 'none'}.")
    named = {domain: {one.name for one in _folders(place)} for domain, place in places.items()}
    classes = sorted(set().union(*named.values()))
    if not classes:
        raise InputError(f"{folder}: its domains {', '.join(places)} hold no folders; expected a folder a class.")
    output = Path(output)
    writable_folder(output / "classes.txt", "output")
    write_classes(output / "classes.txt", classes)
    lists, missing = {}, []
    for domain, place in places.items():
        path = output / f"{domain}.lst"
        labels, _ = list_folder(place, path, output / "classes.txt")
        empty = [name for label, name in enumerate(classes) if label not in set(labels)]
        missing += [f"{domain}: no images of {', '.join(empty)}"] if empty else []
        lists[domain] = read_list(path, len(classes))
    if missing:
        raise InputError(f"{folder}: {len(missing)} of its {len(places)} domains lack classes that others have; every "
                         f"domain needs images of all {len(classes)}:{first_ten(missing)}")
    return lists, len(classes)


def _folders(folder):
    try:
        return sorted(place for place in Path(folder).iterdir() if place.is_dir() and not place.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}; expected a folder.") from None


def _class_folders(domain):
    """Where the folders of the classes lie: Office-31 comes as ``amazon/images/back_pack/frame_0001.jpg``."""
    below = _folders(domain)
    return below[0] if [place.name for place in below] == ["images"] else domain


def plan_pairs(output, domains, num_classes, gpus, seeds, stage0, common, also=()):
    """The commands of all pairs and seeds, stage 0 only, and the lists that they read: ``SOURCE/TARGET/source.lst`` and
    ``val.lst``, no target list. `domains` is what `list_domains` gives, the rest is as for `methods.plan`; `also` may
    name ``cnn`` alone.

    Image files are read as they are: packed, each would be there as many times as its domain has partners, and twice.
    """
    rows = {"cnn": ("cnn", "source only", []), **further_rows(also)}
    trials = []
    for source, target in itertools.permutations(domains, 2):
        folder = Path(output, source, target)
        folder.mkdir(parents=True, exist_ok=True)
        lists = {}
        for name, images in (("source.lst", domains[source]), ("val.lst", domains[target])):
            write_list(folder / name, images.labels.tolist(), images.files)
            lists[name] = images.digest
        for seed, (name, (_, title, words)) in itertools.product(range(seeds), rows.items()):
            prefix = folder / f"seed{seed}" / name
            command = training_command(folder, num_classes, seed, prefix, gpus,
                                       ["--read", "files", *common, "--train-stage", 0, *stage0, *words])
            trials.append(Trial(name, title, seed, command, prefix, Path(f"{prefix}-run", "summary.csv"), lists, 0,
                                (source, target)))
    return trials
