"""report.py: one page that a person reads; in a browser, too, where there is one."""
import base64
import dataclasses
import json
import re
import shlex
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from conftest import NEW_NETWORK, ROOT, SMALL, call, make_data, make_domain
from test_choose import LABELS, seen_of

from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint, parameter_file, write_checkpoint
from transfer_gluon.commands import report as report_command
from transfer_gluon.inference.confusion import confusion_matrix
from transfer_gluon.iters import ImageList, read_list, write_list
from transfer_gluon.reports import curves, embedding, material, page, verdict
from transfer_gluon.reports.classes import draw_changes, draw_shares, shares_of
from transfer_gluon.reports.samples import augmentation_of, data_uri
from transfer_gluon.scores import Candidate, choose
from transfer_gluon.symbols import precision

# What markup would become of them: an image that asks for a file and runs a script, an element, an entity, a formula.
NAMES = ["<img src=x onerror=alert(1)>", "<blink>green&amp;", "_$blue$ \"quoted\""]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with data/ of three classes with such names, and the runs source and jan, trained once."""
    folder = tmp_path_factory.mktemp("report")
    make_data(folder / "data")
    (folder / "data" / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    call("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", "data", "--model-prefix", "source", cwd=folder)
    call("fine_tune.py", *SMALL, "--train-stage", 1, "--pretrained-model", "source", "--pretrained-epoch", 1,
         "--data-dir", "data", "--num-epochs", 3, "--model-prefix", "jan", cwd=folder)
    done = call("report.py", "jan", "--out", "page.html", "--data-nthreads", 2, cwd=folder)
    (folder / "said.txt").write_text(done.stdout)
    return folder


@pytest.fixture
def here(kept, tmp_path):
    """A copy of one's own."""
    return shutil.copytree(kept, tmp_path / "here")


class Page(HTMLParser):
    """What is in a page: elements with their attributes, texts within them, and what is nested in what."""

    EMPTY = {"meta", "img", "br", "link", "input"}

    def __init__(self, file):
        super().__init__()
        self.elements, self.words, self._open = [], [], []
        self.text = Path(file).read_text(encoding="utf-8")
        self.feed(self.text)
        assert not self._open, self._open       # all that was begun was ended

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        assert len(dict(attributes)) == len(attributes), (tag, attributes)
        if tag not in self.EMPTY:
            self._open.append((tag, dict(attributes)))

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        if data.strip():
            self.words.append((self._open[-1][0] if self._open else "",
                               next((one.get("aria-label") for name, one in self._open if name == "svg"), None),
                               " ".join(data.split())))

    def of(self, tag):
        return [text for name, _, text in self.words if name == tag]

    @property
    def figures(self):
        """The texts of each figure, by what is read aloud in its place."""
        found = {}
        for tag, label, text in self.words:
            if label and tag in ("text", "tspan"):
                found.setdefault(label, []).append(text)
        return found


@pytest.fixture(scope="module")
def read(kept):
    return Page(kept / "page.html")


def made(here, *flags, runs=("jan",)):
    """The page that the command makes."""
    call("report.py", *runs, "--out", "again.html", "--data-nthreads", 2, *flags, cwd=here)
    return Page(here / "again.html")


def test_the_page_begins_with_what_to_do(read, kept):
    order = [text for tag, _, text in read.words if tag in ("h1", "h2")]
    assert order[0] == "Report on JAN (JMMD)"
    assert order[1] in ("Use JAN (JMMD).", "Keep the source model.")
    used = "jan" if order[1].startswith("Use") else "source"
    command = shlex.split(next(text for text in read.of("code") if "predict.py" in text))
    assert command[1:] == [str(ROOT / "predict.py"), "--model", used, "--epoch", "3" if used == "jan" else "1", "--lst",
                           "data/target.lst", "--out", "predictions.csv"]
    said = (kept / "said.txt").read_text()
    assert order[1] in said and "report: page.html" in said
    assert order[2:] == ["Networks", "Training", "Images as the network sees them", "Both domains in one plane",
                         "How often each class is predicted", "Of what the network is most and least sure",
                         "Right and wrong, by class", "Whether it is right as often as it says"]


def test_its_first_command_runs(read, here):
    command = next(text for text in read.of("code") if "predict.py" in text)
    call("predict.py", *shlex.split(command)[2:], cwd=here)
    assert len((here / "predictions.csv").read_text().splitlines()) == 17


def test_nothing_is_fetched_and_every_anchor_is_there(read):
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 100
    for tag, attributes in read.elements:
        assert tag not in ("script", "link", "iframe", "object", "base")
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "data", "srcset", "action"):
            value = attributes.get(name)
            if value is not None:
                assert value.startswith("data:image/") or value[0] == "#" and value[1:] in ids, (tag, name, value)
    for reference in re.findall(r"url\(\s*['\"]?([^)'\"]*)", read.text):
        assert reference[1:] in ids, reference
    addresses = set(re.findall(r"https?://[^\s\"'<]+", read.text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}     # names, and no addresses
    assert "@import" not in read.text and "<!ENTITY" not in read.text


def test_names_with_markup_stand_as_text_everywhere(read):
    assert {tag for tag, _ in read.elements} & {"blink"} == set()
    assert all(attributes["src"].startswith("data:") for tag, attributes in read.elements if tag == "img")
    shown = {label for label, texts in read.figures.items() if all(
        any(name.lstrip("_")[:20] in text for text in texts) for name in ("<img src=x onerror", "<blink>green&amp;",
                                                                          "$blue$"))}
    assert {"Class shares", "Confusion matrix"} <= shown
    assert any("by class" in label for label in shown - {"Change by class"})
    captions = " ".join(read.of("figcaption"))
    assert all(name in captions for name in NAMES)


def test_a_title_with_markup_is_text(here):
    found = made(here, "--title", "<blink>& my report")
    assert found.of("h1") == ["<blink>& my report"] == found.of("title")
    assert not [tag for tag, _ in found.elements if tag == "blink"]


AXES = {"Softmax loss by epoch": ("epoch [number]", "loss on labelled images [nat]"),
        "Transfer loss by epoch": ("epoch [number]", "loss [each method's own unit]"),
        "Accuracy on training images by epoch": ("epoch [number]", "images right [%]"),
        "Accuracy on labelled target images by epoch": ("epoch [number]", "images right [%]"),
        "Learning rate by epoch": ("epoch [number]", "learning rate [no unit]"),
        "Class shares": ("share of images [%]", "class"),
        "Confusion matrix": ("predicted class", "true class", "part of the true class, from 0 to 1"),
        "Reliability diagram": ("accuracy, from 0 to 1", "number of images",
                                "probability of the predicted class, from 0 to 1")}


@pytest.mark.parametrize("figure", AXES)
def test_axes_have_names_and_units(read, figure):
    assert set(AXES[figure]) <= set(read.figures[figure])


def test_every_figure_has_two_named_axes(read):
    assert len(read.figures) >= 10
    for figure, texts in read.figures.items():
        named = [text for text in texts if re.search(r"\[.+\]$|class$|from 0 to 1|number of", text)]
        assert len(named) >= 2, (figure, texts)


def test_figures_of_the_table_are_those_of_the_commands(here, read):
    rows = re.findall(r"<tr(?: class=\"use\")?>(.*?)</tr>", read.text)
    cells = {re.sub("<.*?>", "|", row).strip("|").split("||")[0]: re.sub("<.*?>", "|", row).strip("|").split("||")
             for row in rows}
    accuracy = call("evaluate.py", "--model", "jan", "--epoch", 3, "--output", "out", cwd=here).stdout
    assert cells["JAN (JMMD)"][1] == f"{float(re.search(r'accuracy +([0-9.]+)%', accuracy)[1]):.1f}"
    assert cells["source model"][-1] == "source:1" and cells["JAN (JMMD)"][-1] == "jan:3"


def test_an_epoch_may_be_named_and_other_runs_stand_beside(here):
    shutil.copy(parameter_file(here / "source", 1), parameter_file(here / "adabn", 1))
    shutil.copy(here / "source-symbol.json", here / "adabn-symbol.json")
    found = made(here, runs=("jan:2", "adabn:1"))
    assert {"JAN (JMMD)", "AdaBN", "source model", "jan:2", "adabn:1"} <= set(found.of("td"))
    assert found.of("h1") == ["Report on JAN (JMMD), AdaBN"]


def test_equal_titles_are_told_apart(here):
    found = made(here, runs=("jan:2", "jan:3"))
    assert {"JAN (JMMD), jan:2", "JAN (JMMD), jan:3"} <= set(found.of("td"))


def test_without_target_images_it_says_what_can_be_said(here):
    (here / "data" / "target.lst").unlink()
    found = made(here)
    assert found.of("h2")[0] == "Which network to use cannot be told without target images."
    assert found.of("code")[0].endswith("report.py jan --out again.html --data-nthreads 2 --target PHOTOS")
    assert "Softmax loss by epoch" in found.figures and "No target images were at hand" in found.text
    assert "Class shares" not in found.figures
    assert {"source model", "source:1"} <= set(found.of("td"))
    assert "In the order in which they were named." in found.text
    assert "green" not in " ".join(found.of("p"))
    said = call("report.py", "jan", "--source", "/does-not-exist", cwd=here, expect=2).stderr
    assert "--source was given without images of the target to look at, where it does nothing" in said
    said = call("report.py", "jan", "--source-model", "source", cwd=here, expect=2).stderr
    assert "--source-model is source; expected PREFIX:EPOCH" in said


def test_by_labels_alone_the_best_stands_first(here):
    (here / "data" / "target.lst").unlink()
    checkpoint = load_checkpoint(here / "jan", 3)
    checkpoint.arg_params["fc_weight"][:] = 0       # the same class everywhere
    write_checkpoint(here / "jan", 2, checkpoint.symbol, checkpoint.arg_params, checkpoint.aux_params)
    found = made(here, "--val", "data/val.lst", runs=("jan:2", "jan:3"))
    assert found.of("h2")[0].startswith(("Use ", "Keep ")) and "Confusion matrix" in found.figures
    assert "The best first, by the labels; the one to use is green." in found.text
    rows = re.findall(r"<tr(?: class=\"use\")?><td.*?</td><td>([0-9.]+)</td>", found.text)
    assert len(rows) == 3 and list(map(float, rows)) == sorted(map(float, rows), reverse=True)
    assert found.text.index('<tr class="use">') < found.text.index("jan:2</td>")


def test_without_labels_it_says_so_and_how_to_get_them(here):
    (here / "data" / "val.lst").unlink()
    found = made(here)
    assert "No target image with a label was at hand" in found.text and "Confusion matrix" not in found.figures
    assert any(text.endswith("--val LABELLED") for text in found.of("code"))
    assert "✓" not in found.text and "right on labelled target images [%]" not in found.of("th")


def test_without_source_images_the_other_sections_stay(here):
    (here / "data" / "source.lst").unlink()
    found = made(here)
    assert "none of the source, to place both domains in one plane" in found.text
    assert "right on the source [%]" not in found.of("th") and "Class shares" in found.figures


def test_a_run_without_a_summary_has_no_curves(here):
    for name in "jan", "source":
        (here / f"{name}-run" / "summary.csv").unlink()
    found = made(here)
    assert "No run has a summary.csv" in found.text and "Softmax loss by epoch" not in found.figures


def test_a_target_of_one_class_and_of_five_images(here):
    make_domain(here, "few", [1] * 5)
    write_list(here / "few.lst", [9999] * 5, read_list(here / "few.lst").files)
    found = made(here, "--target", here / "few.lst")
    assert "Class shares" in found.figures and found.of("h2")[0].startswith(("Use", "Keep"))
    write_list(here / "one.lst", [9999], read_list(here / "few.lst").files[:1])
    assert made(here, "--target", here / "one.lst").of("h2")[0]
    assert "Confusion matrix" in made(here, "--target", here / "few.lst", "--val", make_domain(
        here, "right", [2] * 3)).figures


@pytest.mark.parametrize("flags, why", [
    (["nowhere"], "nowhere: no checkpoint of this prefix is there"),
    (["jan:9"], "jan-0009.params: no such checkpoint; of the prefix jan there are the epochs 1, 2, 3"),
    (["jan", "--out", "/proc/x/y.html"], "--out: the folder /proc/x cannot be written"),
    (["jan", "other"], "tell different numbers of classes apart, and cannot be compared: .*3 classes.*4 classes"),
    (["jan", "--target", "nowhere"], "nowhere: no such file or folder"),
    (["jan", "--source-model", "source"], "--source-model is source; expected PREFIX:EPOCH"),
])
def test_what_cannot_be_used_is_told_in_a_sentence(here, flags, why):
    if "other" in flags:
        make_domain(here / "data", "four", [i % 4 for i in range(8)])
        (here / "data" / "classes.txt").unlink()
        call("fine_tune.py", *NEW_NETWORK, *SMALL, "--num-classes", 4, "--source", "data/four.lst",
             "--no-validation", "--model-prefix", "other", cwd=here)
    said = call("report.py", *flags, cwd=here, expect=2).stderr
    assert re.search(why, said), said
    assert not (here / "report.html").exists()


def test_different_classes_are_refused_without_images_too(here):
    write_list(here / "data" / "four.lst", [0, 1, 2, 3] * 2, read_list(here / "data" / "val.lst").files[:8])
    (here / "data" / "classes.txt").unlink()
    call("fine_tune.py", *NEW_NETWORK, *SMALL, "--num-classes", 4, "--source", "data/four.lst",
         "--no-validation", "--model-prefix", "other", cwd=here)
    (here / "data" / "target.lst").unlink()
    assert "different numbers of classes" in call("report.py", "jan", "other", cwd=here, expect=2).stderr


def test_every_flag_goes_where_it_belongs(monkeypatch, tmp_path):
    found = {}
    monkeypatch.setattr(material, "collect", lambda *given, **named: found.update(given=given, **named) or
                        SimpleNamespace(notes=[]))
    monkeypatch.setattr(page, "write_report", lambda *given: found.update(written=given) or SimpleNamespace(
        headline="", checkpoint="", reasons=[]))
    monkeypatch.setattr(precision, "usable_dtype", lambda dtype, devices, force: f"{dtype}{' forced' * force}")
    (tmp_path / "data").mkdir()
    flags = ["--source-model", "s:1", "--data-dir", str(tmp_path / "data"), "--source", "a", "--target", "b", "--val",
             "c", "--max-images", "7", "--seed", "8", "--image-shape", "3,4,5", "--val-resize", "squeeze",
             "--batch-size", "9", "--null-label", "10", "--data-nthreads", "11", "--dtype", "bfloat16",
             "--force-dtype"]
    more = ["--title", "mine", "--out", str(tmp_path / "o.html")]
    report_command.main.main(["x", "y:2", *flags, *more], standalone_mode=False)
    given, written = found.pop("given"), found.pop("written")
    assert given[0] == ("x", "y:2") and [str(device) for device in given[1]] == ["cpu(0)"] and given[2] == "s:1"
    assert found == dict(data_dir=str(tmp_path / "data"), source="a", target="b", val="c", null_label=10, most=7,
                         seed=8, image_shape=(3, 4, 5), val_resize="squeeze", batch_size=9, threads=11,
                         dtype="bfloat16 forced")
    assert written[0] == str(tmp_path / "o.html") and written[3] == "mine" and written[5] == 8
    assert written[2][:2] == ["x", "y:2"] and sorted(written[2][2:]) == sorted([*flags, *more])


def test_as_many_images_are_looked_at_as_are_asked_for(here, monkeypatch):
    monkeypatch.chdir(here)
    looked = material.collect(["jan"], [mx.cpu()], most=6, seed=3)
    assert (len(looked.target), len(looked.source), len(looked.val), looked.classes) == (6, 3, 6, NAMES)
    other = material.collect(["jan"], [mx.cpu()], most=6, seed=4)
    assert set(looked.target.files) != set(other.target.files)
    labels = dict(zip(read_list("data/val.lst").files, read_list("data/val.lst").labels))
    assert looked.val.labels.tolist() == [labels[file] for file in looked.target.files]


def test_images_are_shown_as_the_network_in_use_is_given_them(here, monkeypatch):
    """It may have another input than the first one, and resize otherwise: of an image of three colours side by side,
    the middle of its own height is one of them, and the whole has all."""
    monkeypatch.chdir(here)
    call("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", "data", "--model-prefix", "whole", "--image-shape",
         "3,20,20", "--val-resize", "squeeze", cwd=here)
    colours = [(250, 5, 5), (5, 250, 5), (5, 5, 250)]
    files = [str(here / "data" / f"wide{place}.png") for place in range(8)]
    for file in files:
        cv2.imwrite(file, np.uint8([[colours[column // 20] for column in range(60)]] * 20)[:, :, ::-1])
    target = write_list(here / "wide.lst", [9999] * 8, files)
    for use, size, shown in ("whole:1", 20, {0, 1, 2}), ("source:1", 16, {1}):
        first = {"whole:1": "source:1", "source:1": "whole:1"}[use]
        looked = material.collect([use], [mx.cpu()], first, target=target)
        for section, row in (page._samples(looked, 1, 0), "Target, in use"), (page._extremes(looked, 1), "Most sure"):
            content = base64.b64decode(dict(section.rows)[row][0].uri.partition(",")[2])
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), 1)
            assert pixels.shape == (size, size, 3)
            assert set(2 - pixels[size // 2, [1, size // 2, -2]].argmax(axis=1)) == shown


# The verdict, on networks that are made up.
def judged(names, seen, known=None):
    candidates = [Candidate(name, 1, is_source=name == "source") for name in names]
    images = ImageList(Path("v.lst"), np.arange(60), LABELS, [f"{i}.png" for i in range(60)])
    return material.Material(
        candidates, ["source model" if name == "source" else name for name in names], [{}] * len(names),
        [None] * len(names), ["a", "b", "c"], [((3, 8, 8), None)] * len(names),
        target=images, source=images, seen=seen,
        choice=choose(candidates, seen, resamples=20),
        **({"val": images, "seen_val": known} if known else {}))


def test_clear_evidence_is_called_so():
    found = verdict.verdict(judged(["source", "good"], [seen_of(0.5, 1), seen_of(0.95, 6)]), ["good"])
    assert (found.headline, found.checkpoint, found.place) == ("Use good.", "good, epoch 1", 1)
    assert found.certainty in ("clear", "fair") and "better than the source model" in found.reasons[0]
    assert "No target label was looked at" in found.reasons[-1]
    assert found.steps[1][1] == "python report.py good --val LABELLED"


def test_the_source_model_is_kept_where_the_choice_keeps_it():
    found = verdict.verdict(judged(["source", "worse"], [seen_of(0.9, 4), seen_of(0.9, 1)]), ["worse"])
    assert found.headline == "Keep the source model." and found.place == 0
    assert "better than worse" in found.reasons[0]


@pytest.mark.parametrize("sure, agreeing, word", [(0.95, 7, "clear"), (0.95, 5, "fair"), (0.8, 8, "fair"),
                                                  (0.6, 8, "thin"), (0.95, 3, "thin"), (float("nan"), 8, "thin")])
def test_how_sure_it_is_follows_from_halves_and_scores(sure, agreeing, word):
    told = judged(["source", "good"], [seen_of(0.5, 1), seen_of(0.95, 6)])
    choice = dataclasses.replace(told.choice, sure=sure, agreeing={str(i): i < agreeing for i in range(8)})
    found = verdict.verdict(dataclasses.replace(told, choice=choice), ["good"])
    assert found.certainty == word and f"{agreeing} of 8 scores" in " ".join(found.reasons)
    assert ("halves" in found.reasons[0]) == (sure == sure)


def test_what_is_equal_by_every_score_is_said_so():
    found = verdict.verdict(judged(["source", "same"], [seen_of(0.9), seen_of(0.9)]), ["same"])
    assert (found.headline, found.certainty) == ("Keep the source model.", "thin")
    assert "it cannot be told from same: both are equal by each of" in found.reasons[0]
    told = judged(["source", "good"], [seen_of(0.5, 1), seen_of(0.95, 6)])
    agreeing = {**dict.fromkeys("abcd", True), "e": False, "f": None}
    choice = dataclasses.replace(told.choice, sure=0.95, agreeing=agreeing)
    found = verdict.verdict(dataclasses.replace(told, choice=choice), ["good"])
    assert any("4 of 6 scores" in reason and "agree; by 1 both are equal." in reason for reason in found.reasons)


def test_labels_overrule_what_is_said_without_them():
    seen = [seen_of(0.5, 1), seen_of(0.95, 6)]
    found = verdict.verdict(judged(["source", "good"], seen, [seen_of(0.9), seen_of(0.4)]), ["good"])
    assert found.headline == "Keep the source model." and found.certainty == "labels"
    assert "right on 90.0%; good, which the scores without labels prefer, on 40.0%" in found.reasons[0]
    close = verdict.verdict(judged(["source", "good"], seen, [seen_of(0.9), seen_of(0.87)]), ["good"])
    assert close.headline == "Use good." and "which the choice did not see, it is right on 86.7%" in close.reasons[0]
    assert "the source model on 90.0%, which so few labels do not tell from chance" in close.reasons[0]
    assert not any("--val" in step for _, step in close.steps)


def test_without_a_source_model_nothing_says_whether_adaptation_helped():
    found = verdict.verdict(judged(["good"], [seen_of(0.9)]), ["good"])
    assert found.certainty == "unknown" and "no source model to compare it with" in found.reasons[0]


def test_networks_that_give_no_numbers_are_not_recommended(kept, tmp_path):
    nothing = np.full((60, 3), np.nan, np.float32)
    seen = dataclasses.replace(seen_of(0.9), target_logits=nothing, source_logits=nothing)
    told = dataclasses.replace(judged(["good"], [seen_of(0.9)]), choice=None, seen=[seen], undecided="no numbers.")
    found = verdict.verdict(told, ["good"])
    assert found.headline == "Which network to use cannot be told." and found.reasons == ["No numbers."]
    assert not embedding.draw_embeddings({"a": seen}, ["a", "b", "c"])


def test_diverged_networks_are_told_in_a_page(here):
    checkpoint = load_checkpoint(here / "jan", 3)
    checkpoint.arg_params["fc_bias"][:] = float("nan")
    write_checkpoint(here / "jan", 3, checkpoint.symbol, checkpoint.arg_params, checkpoint.aux_params)
    found = made(here)
    assert found.of("h2")[0] == "Keep the source model." and "–" in found.of("td")
    assert "ruled out, since" in found.of("th") and found.of("td").count("gives no numbers") == 1
    assert any("choose.py" in text and text.endswith(" jan") for text in found.of("code")), "an epoch before may do"


def test_the_plane_says_what_colours_it(read, here):
    assert "triangles target images by what is predicted. " in read.text
    known = read_list(here / "data" / "val.lst")
    few = write_list(here / "few.lst", known.labels[:9], [str(here / file) for file in known.files[:9]])
    found = made(here, "--target", few)
    assert "triangles target images by their labels where these are known, else by what is predicted. " in found.text


def test_a_file_that_is_no_report_stays(here):
    for file in here / "data" / "val.lst", here / "empty.html":
        file.touch()
        before = file.read_bytes()
        said = call("report.py", "jan", "--out", file, cwd=here, expect=2).stderr
        assert "is there already, and no report. Give --out another name" in said and file.read_bytes() == before
    made(here)
    assert made(here, "--title", "anew").of("h1") == ["anew"]


# The figures.
def test_the_transfer_loss_is_smoothed_and_its_noise_is_told():
    mean, noise = curves.smoothed([1.0, 3.0, 1.0, 3.0, 1.0], 3)
    np.testing.assert_allclose(mean, [2, 5 / 3, 7 / 3, 5 / 3, 2])
    np.testing.assert_allclose(noise[0], 1)


def summary(**columns):
    return [dict(epoch=str(epoch), **{name: str(values[epoch - 1]) for name, values in columns.items()})
            for epoch in range(1, 1 + len(next(iter(columns.values()))))]


def test_columns_without_labels_become_figures_and_absent_ones_do_not():
    told = judged(["source", "good"], [seen_of(0.5), seen_of(0.9)])
    rows = summary(loss=[1, 2], transfer_loss=[0.1, 0.2], start_transfer_loss=[0.3, 0.3], accuracy=[0.5, 0.6],
                   source_accuracy=[0.7, 0.8], validation_accuracy=["nan", "nan"], learning_rate=[0.1, 0],
                   target_confidence=[0.5, 0.6], target_entropy=[1, 2], target_changed=[0.1, 0.2],
                   target_shares=[0.1, 0.1], target_classes=[1, 1])
    told = dataclasses.replace(told, settings=[{}, {"train_stage": 1, "pretrained_model": "source",
                                                    "pretrained_epoch": 6}], summaries=[None, rows])
    drawn = {curve.column: svg for curve, svg in curves.draw_curves(told)}
    assert list(drawn) == ["loss", "transfer_loss", "source_accuracy", "learning_rate", "target_confidence",
                           "target_entropy", "target_changed", "target_shares", "target_classes"]
    assert "mean probability of the predicted class [%]" in drawn["target_confidence"]
    assert "stroke-dasharray" in drawn["transfer_loss"] and ">7<" in drawn["loss"]      # behind the source's six


def test_small_learning_rates_are_read_as_numbers():
    told = dataclasses.replace(judged(["source"], [seen_of(0.5)]), settings=[{}],
                               summaries=[summary(loss=[1, 2], learning_rate=[0.05, 0.01])])
    drawn = dict((curve.column, svg) for curve, svg in curves.draw_curves(told))["learning_rate"]
    assert ">0.01<" in drawn and ">0.02<" in drawn and "$" not in drawn


def test_shares_and_changes_name_the_classes_that_matter():
    np.testing.assert_allclose(shares_of(np.array([0, 0, 2, 1]), 3), [0.5, 0.25, 0.25])
    names = [f"class {label}" for label in range(40)]
    even, odd = np.full(40, 1 / 40), np.full(40, 1 / 40)
    odd[[7, 30]] += 0.1, -0.01
    drawn, left_out = draw_shares(names, {"source": even, "target": odd})
    assert "class 7<" in drawn and "class 30<" in drawn and left_out == 16
    before = confusion_matrix(np.array([0, 1]), np.array([1, 1]), 3)
    drawn, left_out = draw_changes(before, confusion_matrix(np.array([0, 1]), np.array([0, 0]), 3), ["a<", "b", "c"])
    assert left_out == 0 and drawn.index("a&lt;") < drawn.index(">b<") and ">c<" not in drawn


def test_images_are_small(tmp_path):
    large = data_uri(np.random.default_rng(0).integers(0, 255, (600, 400, 3)))
    assert large.startswith("data:image/jpeg;base64,") and len(large) < 12_000
    assert data_uri(np.full((20, 20, 3), 300.0)).startswith("data:image/png;base64,")


def test_images_in_training_are_changed_as_the_run_changed_them(kept):
    told = json.loads((kept / "jan-run" / "settings.json").read_text())["settings"]
    found = augmentation_of({**told, "random_mirror": 0, "color_jitter": 0.7})
    assert found.random_mirror is False and found.jitter == 0.7 and found.random_crop is True
    assert augmentation_of({}) is None and augmentation_of({"read": "features", "feature_views": 0}) is None


# In a browser.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
browser = pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed (Debian: apt install chromium)")


# What the browser asks for itself, such as dictionaries.
OF_THE_BROWSER = r"(data|file|chrome|chrome-\w+):|https?://([\w-]+\.)*(google|gstatic|googleapis|gvt1)\.com[/:]"


def opened(file, folder, *flags):
    """What headless Chromium says of a page: its elements as it understands them, its console, its requests."""
    net = folder / "net.json"
    done = subprocess.run([CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
                           "--disable-background-networking", "--disable-component-update", "--no-first-run",
                           f"--user-data-dir={folder / 'profile'}", f"--log-net-log={net}", *flags, "--dump-dom",
                           f"file://{file}"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    console = re.findall(r"CONSOLE.*", done.stderr)
    asked = re.findall(r'"url":"([a-z]+:[^"]*)', net.read_text(errors="replace"))
    return done.stdout, console, {url for url in asked if not re.match(OF_THE_BROWSER, url)}


@browser
def test_a_browser_opens_it_without_errors_or_requests(kept, tmp_path):
    elements, console, requests = opened(kept / "page.html", tmp_path)
    assert console == []
    assert requests == set()
    assert "<blink" not in elements and "&lt;blink&gt;green&amp;amp;" in elements
    for axis in "loss on labelled images [nat]", "share of images [%]", "epoch [number]", "images right [%]":
        assert f">{axis}<" in elements


@browser
def test_what_would_run_or_fetch_is_noticed(kept, tmp_path):
    """The test above can fail."""
    bad = (kept / "page.html").read_text(encoding="utf-8").replace(
        "</main>", "<img src='http://127.0.0.1:9/x.png'></main><script>console.error('ran')</script>")
    (tmp_path / "bad.html").write_text(bad, encoding="utf-8")
    elements, console, requests = opened(tmp_path / "bad.html", tmp_path)
    assert any("Content Security Policy" in line for line in console) and not requests
    assert not any("ran" in line.partition("source:")[0] for line in console)
    (tmp_path / "bad.html").write_text(re.sub("<meta http-equiv.*?>", "", bad), encoding="utf-8")
    _, console, requests = opened(tmp_path / "bad.html", tmp_path)
    assert "http://127.0.0.1:9/x.png" in requests and any("ran" in line for line in console)


@browser
@pytest.mark.parametrize("width", [500, 1280])
def test_it_fits_the_width(kept, tmp_path, width):
    page = re.sub(r"<meta http-equiv.*?>", "", (kept / "page.html").read_text(encoding="utf-8"))
    measure = "<script>document.title = `${document.documentElement.scrollWidth} of ${innerWidth}`</script></body>"
    (tmp_path / "measured.html").write_text(page.replace("</body>", measure), encoding="utf-8")
    elements, _, _ = opened(tmp_path / "measured.html", tmp_path, f"--window-size={width},900")
    needed, there = map(int, re.search(r"<title>(\d+) of (\d+)</title>", elements).groups())
    assert needed <= there
