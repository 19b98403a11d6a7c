"""The emoji benchmark, made of stand-ins of its two packages: its classes, drawings and lists, and bad packages."""
import io
import json
import os
import tarfile

import numpy as np
import pytest
from conftest import call
from PIL import Image

from transfer_gluon.base.errors import InputError
from transfer_gluon.iters import read_list
from transfer_gluon.records.make_list import read_classes
from transfer_gluon.tools import emoji

TONES = "1f3fb", "1f3ff"
# Subcategory: the category, and which of its emoji each vendor has drawn. Hands have two tones each. With them
# `hand-few` would be large enough; by one vendor's number, `only-here`; by both numbers, `apart`.
KINDS = {
    "food-fruit": ("Food & Drink", {"twitter": range(4), "facebook": range(4)}),
    "arts & crafts": ("Activities", {"twitter": range(5), "facebook": range(1, 5)}),
    "hand-fingers-open": ("People & Body", {"twitter": range(3), "facebook": range(4)}),
    "hand-few": ("People & Body", {"twitter": range(2), "facebook": range(2)}),
    "only-here": ("Symbols", {"twitter": range(6), "facebook": range(1)}),
    "apart": ("Symbols", {"twitter": range(3), "facebook": range(3, 6)}),
    "country-flag": ("Flags", {"twitter": range(6), "facebook": range(6)}),
    "other-things": ("Flags", {"twitter": range(6), "facebook": range(6)}),
    "flag": ("Objects", {"twitter": range(6), "facebook": range(6)}),
}
CLASSES = ["arts & crafts", "food-fruit", "hand-fingers-open"]


def told():
    """What ``emoji.json`` tells; each vendor's package holds that of all vendors."""
    one = []
    for kind, (category, drawn) in KINDS.items():
        for i in range(6):
            name = f"{len(one):05x}"
            has = {f"has_img_{vendor}": i in those for vendor, those in drawn.items()}
            one.append({"category": category, "subcategory": kind, "image": f"{name}.png", **has})
            if kind.startswith("hand"):
                one[-1]["skin_variations"] = {tone: {"image": f"{name}-{tone}.png", **has} for tone in TONES}
    return one


def drawing(name, vendor, side=64, kind="PNG"):
    """A file of this kind: a disc whose colour tells vendor and emoji, half transparent on its right, on nothing."""
    y, x = np.mgrid[:side, :side] - side / 2
    red = int(name[:5], 16) * 4
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[..., :3] = red, 200 if vendor == "twitter" else 50, len(name)
    pixels[..., 3] = np.where(x**2 + y**2 < (side / 3) ** 2, np.where(x > 0, 127, 255), 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def package(folder, vendor, changed=None):
    """Write the folder ``package`` of a vendor, with the `changed` files: bytes, or None where there is none."""
    files = {"package.json": json.dumps({"name": f"emoji-datasource-{vendor}", "version": "16.0.0"}).encode(),
             "emoji.json": json.dumps(told()).encode()}
    for one in told():
        for each in [one, *one.get("skin_variations", {}).values()]:
            if each[f"has_img_{vendor}"]:
                files[f"img/{vendor}/64/{each['image']}"] = drawing(each["image"], vendor)
    place = folder / vendor / "package"
    for name, content in {**files, **(changed or {})}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            (place / name).write_bytes(content)
    return place


def packed(place):
    """The archive of a package, as ``npm pack`` writes it."""
    path = place.parent.with_suffix(".tgz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(place, "package")
    return path


@pytest.fixture
def packages(tmp_path):
    """The folders of both packages."""
    return [package(tmp_path, vendor) for vendor in ("twitter", "facebook")]


def of_classes(path):
    images = read_list(path, len(CLASSES))
    return np.bincount(images.labels[images.labelled], minlength=len(CLASSES)).tolist()


def test_classes_are_what_both_have_drawn_enough_of_without_flags_and_tones(packages, tmp_path):
    data = tmp_path / "data"
    said = call("tools/emoji.py", *map(packed, packages), "--data-dir", data, "--least", 3).stdout
    assert read_classes(data / "classes.txt") == CLASSES
    # Counted without skin tones, which are pictures of their own nevertheless, as is what only one vendor has drawn.
    assert of_classes(data / "source.lst") == [5, 4, 9] and of_classes(data / "val.lst") == [4, 4, 12]
    assert said == f"{data}: 18 drawings of twitter and 20 drawings of facebook, 3 classes\n"
    assert sorted(place.name for place in data.iterdir()) == ["classes.txt", "facebook", "source.lst", "target.lst",
                                                              "twitter", "val.lst"]
    for name, vendor in ("source.lst", "twitter"), ("val.lst", "facebook"):
        images = read_list(data / name, 3)
        assert sorted(images.files) == sorted(map(str, (data / vendor).rglob("*.png")))
        folders = [os.path.basename(os.path.dirname(file)) for file in images.files]
        assert folders == [CLASSES[label] for label in images.labels]


def test_a_class_has_thirteen_drawings_unless_it_is_told(packages, tmp_path):
    said = call("tools/emoji.py", *packages, "--data-dir", tmp_path / "data", expect=2).stderr
    assert "no subcategory of which both have 13 drawings" in said and not (tmp_path / "data" / "source.lst").exists()


def test_the_target_has_no_labels_and_the_first_package_is_the_source(packages, tmp_path):
    data = tmp_path / "data"
    assert emoji.make(*map(emoji.Package, packages[::-1]), data, 3) == (3, 20, 18)
    source, target, val = (read_list(data / f"{name}.lst", 3) for name in ("source", "target", "val"))
    assert "/facebook/" in source.files[0] and "/twitter/" in target.files[0]
    assert target.files == val.files and not target.labelled.any() and val.labelled.all()
    assert set(target.labels.tolist()) == {9999}


def test_drawings_lie_on_white_and_are_the_vendors_own(packages, tmp_path):
    emoji.make(*map(emoji.Package, packages), tmp_path / "data", 3)
    for vendor, green in ("twitter", 200), ("facebook", 50):
        for name in sorted((tmp_path / "data" / vendor / "hand-fingers-open").iterdir())[:3]:
            with Image.open(name) as image:
                assert image.size == (64, 64) and image.mode == "RGB"
                pixels = np.asarray(image)
            red = int(name.name[:5], 16) * 4
            assert pixels[0, 0].tolist() == [255] * 3 and pixels[32, 20].tolist() == [red, green, len(name.name)]
            assert abs(pixels[32, 40].astype(int) - (np.array([red, green, len(name.name)]) + 255) / 2).max() < 2


def test_folders_and_archives_give_the_same_files_however_often(packages, tmp_path, monkeypatch):
    made = {}
    for name, given in ("a", packages), ("b", [*map(packed, packages)]), ("b", packages):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        emoji.make(*map(emoji.Package, given), "data", 3)
        made[len(made)] = {path: path.read_bytes() for path in sorted(tmp_path.joinpath(name, "data").rglob("*.*"))}
    a, b, again = ({str(path).partition("data/")[2]: content for path, content in one.items()} for one in made.values())
    assert a == b == again and len(a) == 42


def test_the_last_list_is_the_sign_that_all_is_there(packages, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(emoji, "write_list", lambda path, labels, files: written.append(path.name))
    emoji.make(*map(emoji.Package, packages), tmp_path / "data", 3)
    assert written[-1] == "val.lst" and sorted(written) == ["source.lst", "target.lst", "val.lst"]


def test_names_that_lead_elsewhere_are_left_out(packages, tmp_path):
    strange = told()
    strange[0]["image"] = "../../../../stolen.png"
    strange[1]["subcategory"] = "../.."
    for one in strange[18:24]:
        one["subcategory"] = ".."
    (tmp_path / "stolen.png").write_bytes(drawing("00000.png", "twitter"))
    given = packed(package(tmp_path, "twitter", {"emoji.json": json.dumps(strange).encode()}))
    emoji.make(emoji.Package(given), emoji.Package(packages[1]), tmp_path / "data", 2)
    assert read_classes(tmp_path / "data" / "classes.txt") == CLASSES
    assert of_classes(tmp_path / "data" / "source.lst") == [5, 2, 9]


def test_one_vendor_twice_is_refused(packages, tmp_path):
    said = call("tools/emoji.py", packages[0], packed(packages[0]), "--data-dir", tmp_path / "data", expect=2).stderr
    assert "are both drawings of twitter; expected two vendors" in said and not (tmp_path / "data").exists()


def first(**changes):
    """``emoji.json`` whose first emoji is changed."""
    one = told()
    one[0] |= changes
    return json.dumps(one).encode()


NO_LIST = "its emoji.json is no list of emoji with category, subcategory and image"


@pytest.mark.parametrize("changed, why", [
    ({"package.json": None}, "package.json: No such file"),
    ({"package.json": b'{"name": "left-pad"}'}, "its package.json does not name it emoji-datasource-VENDOR"),
    ({"package.json": b"[1]"}, "its package.json does not name it emoji-datasource-VENDOR"),
    ({"package.json": b'{"name": "emoji-datasource-../x"}'}, "its package.json does not name it"),
    ({"emoji.json": None}, "emoji.json: No such file"), ({"emoji.json": b"\xff"}, "can't decode byte 0xff"),
    ({"emoji.json": b"["}, "line 1 column 2"), ({"emoji.json": b"[" * 10**5}, "recursion depth"),
    *[({"emoji.json": one}, NO_LIST) for one in (
        b"5", b'["a"]', b'[{"image": "0.png"}]', first(subcategory=None), first(image=5), first(skin_variations=None),
        first(skin_variations=[1]), first(skin_variations={"a": "b"}), first(skin_variations={"a": {}}))],
], ids=lambda value: None if isinstance(value, dict) else value[:20])
def test_what_is_no_package_is_told_in_one_message(tmp_path, changed, why):
    place = package(tmp_path, "twitter", {name: content for name, content in changed.items() if content is not None})
    for name in changed:
        if changed[name] is None:
            (place / name).unlink()
    with pytest.raises(InputError) as raised:
        emoji.Package(place)
    said = str(raised.value)
    assert said.startswith(f"{place}: not a package of drawings: ") and why in said and "npm pack" in said, said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("damaged, why", [
    (lambda whole: b"", "no whole archive"), (lambda whole: b"no archive" * 100, "no whole archive"),
    (lambda whole: whole[:len(whole) // 2], "Compressed file ended"),
    (lambda whole: whole[:3000] + bytes(300) + whole[3300:], ""),
], ids=["empty", "text", "half", "zeros within"])
def test_damaged_archives_are_told_in_one_message(packages, tmp_path, damaged, why):
    path = packed(packages[0])
    path.write_bytes(damaged(path.read_bytes()))
    said = call("tools/emoji.py", path, packages[1], "--data-dir", tmp_path / "data", expect=2).stderr
    assert str(path) in said and why in said and len(said.strip().splitlines()) == 1, said
    assert not (tmp_path / "data" / "source.lst").exists()


def test_archives_without_the_files_or_with_links_in_their_place_are_refused(packages, tmp_path):
    with tarfile.open(tmp_path / "links.tgz", "w:gz") as archive:
        link = tarfile.TarInfo("package/package.json")
        link.type, link.linkname = tarfile.SYMTYPE, str(packages[0] / "package.json")
        archive.addfile(link)
    with pytest.raises(InputError, match="package.json is no regular file"):
        emoji.Package(tmp_path / "links.tgz")
    with tarfile.open(tmp_path / "none.tgz", "w:gz"):
        pass
    with pytest.raises(InputError, match="package/package.json' not found"):
        emoji.Package(tmp_path / "none.tgz")


def test_what_is_no_file_or_never_answers_is_told(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, why in (tmp_path / "pipe", "not a regular file"), (tmp_path / "x.tgz", "No such file"):
        with pytest.raises(InputError, match=why):
            emoji.Package(path)
    place = package(tmp_path, "twitter")
    (place / "emoji.json").unlink()
    os.mkfifo(place / "emoji.json")
    with pytest.raises(InputError, match="not a regular file"):
        emoji.Package(place)


PNG, GIF = (drawing("00000.png", "facebook", kind=kind) for kind in ("PNG", "GIF"))


@pytest.mark.parametrize("content, why", [
    (b"", "no PNG file"), (GIF, "no PNG file"), (PNG[:60], "truncated"),
    (PNG[:16] + b"\0\1\0\0\0\1\0\0" + PNG[24:], "no PNG file"),      # its checksum does not fit
    (None, "No such file")], ids=["empty", "GIF", "cut", "size", "none"])
def test_drawings_that_cannot_be_read_are_named(packages, tmp_path, content, why):
    place = packages[1] / "img" / "facebook" / "64" / "00001.png"
    place.unlink()
    if content is not None:
        place.write_bytes(content)
    with pytest.raises(InputError, match=f"{packages[1]}: the drawing 00001.png cannot be read: .*{why}"):
        emoji.make(*map(emoji.Package, packages), tmp_path / "data", 3)
    assert not list((tmp_path / "data").glob("*.lst"))


def test_a_drawing_of_any_error_of_pillow_is_named(packages, tmp_path, monkeypatch):
    def fails(file, formats=None):
        raise next(errors)

    package = emoji.Package(packages[0])
    monkeypatch.setattr(emoji.Image, "open", fails)
    errors = iter([SyntaxError("unknown filter category"), IndexError("index out of range"),
                   Image.DecompressionBombError("so large"), ValueError("Truncated IHDR chunk.")])
    for why in "unknown filter category", "index out of range", "so large", "Truncated IHDR chunk":
        with pytest.raises(InputError, match=f"00000.png cannot be read: {why}.$"):
            package.picture("00000.png")


def test_a_folder_that_cannot_be_written_is_told_before_anything_is(packages, tmp_path):
    (tmp_path / "data" / "facebook").mkdir(parents=True)
    (tmp_path / "data" / "facebook" / "food-fruit").write_text("a file")
    said = call("tools/emoji.py", *packages, "--data-dir", tmp_path / "data", "--least", 3, expect=2).stderr
    assert "--data-dir: the folder" in said and "food-fruit cannot be written" in said
    assert not list((tmp_path / "data").rglob("*.png"))
