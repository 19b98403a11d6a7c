"""Known checkpoints: fetched from a site that behaves badly, or from a folder."""
import hashlib
import http.server
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, SMALL
from filelock import FileLock

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.base.gluoncv_zoo import get_model as get_zoo_block
from transfer_gluon.base.gluoncv_zoo import model_store
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.exchange.download import Unavailable, base_address, check, digest_of, fetch, fetch_text
from transfer_gluon.exchange.gallery import GALLERY, get_model
from transfer_gluon.exchange.zoo_files import get_zoo_model, pretrained_names
from transfer_gluon.symbols import features_block, normalization
from transfer_gluon.symbols.graph import layers
from transfer_gluon.tools.get_model import main

CONTENT = np.random.default_rng(0).bytes(300_000)
ENDLESS = b"endless"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Site:
    """An HTTP server on this machine: what it holds, how it fails, what it was asked for."""

    def __init__(self):
        self.files = {}             # path → (bytes, Last-Modified or None)
        self.break_after = None     # bytes after which the next transfer breaks off
        self.wait = None            # an Event to wait for before it does
        self.ranges = True          # whether it can send the rest of a file
        self.asked = []             # (method, path, Range header) of every request
        self.sent = 0               # bytes of content
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                self.answer("HEAD")

            def do_GET(self):
                self.answer("GET")

            def answer(self, method):
                wanted = self.headers.get("Range")
                site.asked.append((method, self.path, wanted))
                if self.path not in site.files:
                    return self.send_error(404)
                content, changed = site.files[self.path]
                if content is ENDLESS:
                    return self.pour(method)
                begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and site.ranges else 0
                if begin >= len(content) > 0:
                    return self.send_error(416)
                self.send_response(206 if begin else 200)
                if begin:
                    self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - begin))
                if changed:
                    self.send_header("Last-Modified", changed)
                self.end_headers()
                if method == "GET":
                    end, site.break_after = site.break_after, None
                    site.sent += self.wfile.write(content[begin:end])
                    if site.wait:
                        site.wait.wait(60)
                    self.close_connection = True

            def pour(self, method):
                self.send_response(200)
                self.end_headers()
                while method == "GET":      # until nobody wants any more
                    try:
                        site.sent += self.wfile.write(CONTENT)
                    except OSError:
                        return

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def put(self, path, content, changed="Sat, 01 Apr 2017 12:00:00 GMT"):
        self.files["/" + path] = content, changed


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    site = Site()
    site.put("x.params", CONTENT)
    yield site
    site.server.shutdown()
    site.server.server_close()


def break_off(site, path, after=100_000):
    site.break_after = after
    with pytest.raises(Unavailable, match=f"{after} of 300000 bytes have come; call it again"):
        fetch(site.address + "x.params", path)
    assert not path.exists()
    site.sent, site.asked = 0, []


def test_a_broken_transfer_goes_on_where_it_was(site, tmp_path):
    path = tmp_path / "new" / "x.params"
    break_off(site, path)
    assert fetch(site.address + "x.params", path, SHA256) == SHA256
    assert site.asked[-1] == ("GET", "/x.params", "bytes=100000-") and site.sent == 200_000
    assert path.read_bytes() == CONTENT and [p.name for p in path.parent.iterdir()] == ["x.params"]


def test_a_server_that_sends_whole_files_only_is_asked_for_the_whole_file(site, tmp_path):
    break_off(site, tmp_path / "x")
    site.ranges = False
    assert fetch(site.address + "x.params", tmp_path / "x") == SHA256
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("content, changed", [
    (CONTENT[::-1], "Sun, 02 Apr 2017 12:00:00 GMT"),       # as long as before, and another
    (CONTENT[:50_000], "Sat, 01 Apr 2017 12:00:00 GMT"),    # shorter than what has come
    (CONTENT[::-1], None)])                                 # the server does not tell
def test_the_rest_of_another_file_is_not_appended(site, tmp_path, content, changed):
    break_off(site, tmp_path / "x")
    site.put("x.params", content, changed)
    fetch(site.address + "x.params", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == content and [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_run_that_was_killed_goes_on_too(site, tmp_path):
    site.break_after, site.wait = 100_000, threading.Event()
    program = "import sys; from transfer_gluon.exchange.download import fetch; fetch(*sys.argv[1:])"
    run = subprocess.Popen([sys.executable, "-c", program, site.address + "x.params", tmp_path / "x"], cwd=ROOT)
    try:
        while run.poll() is None and sum(file.stat().st_size for file in tmp_path.iterdir()) < 50_000:
            time.sleep(0.01)
    finally:
        run.kill()
    assert run.wait() == -signal.SIGKILL
    site.wait.set()
    there, = (file.stat().st_size for file in tmp_path.glob("*.part"))
    assert fetch(site.address + "x.params", tmp_path / "x") == SHA256
    assert there >= 50_000 and site.asked[-1][2] == f"bytes={there}-"


def test_a_run_that_was_killed_at_the_end_asks_for_nothing(site, tmp_path):
    break_off(site, tmp_path / "x")
    part, = tmp_path.iterdir()
    part.write_bytes(CONTENT)
    assert fetch(site.address + "x.params", tmp_path / "x") == SHA256 and site.sent == 0


@pytest.mark.parametrize("digest", ["0" * 64, "0" * 40])
def test_a_wrong_digest_removes_the_file(site, tmp_path, digest):
    with pytest.raises(InputError, match="not the file it should be.* expected 000"):
        fetch(site.address + "x.params", tmp_path / "x", digest)
    assert list(tmp_path.iterdir()) == []


def test_sha1_and_sha256_are_told_apart_by_their_length(tmp_path):
    (tmp_path / "x").write_bytes(CONTENT)
    check(tmp_path / "x", hashlib.sha1(CONTENT).hexdigest().upper())
    check(tmp_path / "x", SHA256)
    with pytest.raises(InputError, match=f"SHA256 is {SHA256}"):
        check(tmp_path / "x", "1" * 64)
    with pytest.raises(InputError, match="`digest` is 'abc'; expected 40 hexadecimal digits of a SHA-1, or 64"):
        check(tmp_path / "x", "abc")


def test_names_that_nobody_knows_are_refused_with_those_there_are(tmp_path):
    for get, known in ((get_model, "imagenet1k-resnet-18"), (get_zoo_model, "cifar_resnet20_v1")):
        with pytest.raises(InputError, match=f"`name` is 'resnet-1'; expected one of .*{known}") as refused:
            get("resnet-1", tmp_path)
        assert (refused.value.parameter, refused.value.value) == ("name", "resnet-1")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_told(site, tmp_path):
    with pytest.raises(Unavailable, match="there is no such file"):
        fetch(site.address + "y.params", tmp_path / "y")
    assert fetch_text(site.address + "SHA256SUMS") is None
    site.server.shutdown()
    site.server.server_close()
    with pytest.raises(Unavailable, match="127.0.0.1.*cannot be fetched"):
        fetch(site.address + "x.params", tmp_path / "x")
    with pytest.raises(Unavailable, match="127.0.0.1.*cannot be fetched"):
        fetch_text(site.address + "SHA256SUMS")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_write_the_same_file(site, tmp_path):
    break_off(site, tmp_path / "x")
    with FileLock(tmp_path / ".x.lock"):
        with pytest.raises(InputError, match="another process is fetching it"):
            fetch(site.address + "x.params", tmp_path / "x")
    assert fetch(site.address + "x.params", tmp_path / "x") == SHA256


def test_what_has_no_end_is_not_waited_for(site, tmp_path, monkeypatch):
    monkeypatch.setattr("transfer_gluon.exchange.download.LARGEST", 3 * len(CONTENT))
    site.put("endless", ENDLESS, None)
    with pytest.raises(Unavailable, match="endless: more than 900000 bytes, which no such file has"):
        fetch(site.address + "endless", tmp_path / "x")
    with pytest.raises(Unavailable, match="endless: more than 1048576 bytes"):
        fetch_text(site.address + "endless")
    site.put("large", 4 * CONTENT)
    with pytest.raises(Unavailable, match="large: more than 900000 bytes"):
        fetch(site.address + "large", tmp_path / "x")
    assert ("GET", "/large", None) not in site.asked and list(tmp_path.iterdir()) == []
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(Unavailable, match="there is no such file"):
            fetch(base_address(path).rstrip("/"), tmp_path / "x")
        assert fetch_text(base_address(path).rstrip("/")) is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_told(site, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.open", lambda _, *args, _open=open, **more: _open("/dev/full", *args, **more))
    with pytest.raises(InputError, match="No space left on device"):
        fetch(site.address + "x.params", tmp_path / "x")


@pytest.fixture
def gallery(site, trained):
    """A site that has a small network where the known ones lie."""
    for known in GALLERY.values():
        site.put(f"{known.path}.params", (trained / "s0-0001.params").read_bytes())
        site.put(f"{known.path.rpartition('-')[0]}-symbol.json", (trained / "s0-symbol.json").read_bytes())
    return site


def test_a_known_network_comes_ready_to_train(gallery, data, command, tmp_path):
    env = {"TRANSFER_GLUON_MIRROR": gallery.address}
    said = command("tools/get_model.py", "imagenet11k-resnet-152", "--output", tmp_path / "m", env=env).stdout
    prefix = tmp_path / "m" / "resnet-152"
    assert f"--pretrained-model {prefix} " in said and "its publisher never told one" in said
    assert hashlib.sha256(prefix.with_name("resnet-152-0000.params").read_bytes()).hexdigest() in said
    command("fine_tune.py", *SMALL, "--data-dir", data, "--pretrained-model", prefix)
    gallery.server.shutdown()
    gallery.server.server_close()
    assert get_model("imagenet11k-resnet-152", tmp_path / "m").prefix == prefix    # there already: nobody is asked


def test_a_folder_serves_as_mirror_and_tells_digests(trained, tmp_path):
    known = GALLERY["imagenet11k-resnet-152"]
    there = tmp_path / "mirror" / known.path
    there.parent.mkdir(parents=True)
    shutil.copy(trained / "s0-0001.params", there.with_name("resnet-152-0000.params"))
    shutil.copy(trained / "s0-symbol.json", there.with_name("resnet-152-symbol.json"))
    digest = digest_of(trained / "s0-0001.params")
    sums = there.with_name("SHA256SUMS")
    sums.write_text(f"{digest} *resnet-152-0000.params\n")
    fetched = get_model("imagenet11k-resnet-152", tmp_path / "model", tmp_path / "mirror")
    assert fetched == (tmp_path / "model" / "resnet-152", digest, "SHA256SUMS beside it")
    sums.write_text(f"{'0' * 64}  resnet-152-0000.params\n")
    with pytest.raises(InputError, match=f"SHA256 is {digest}, expected 000"):
        get_model("imagenet11k-resnet-152", tmp_path / "other", tmp_path / "mirror")
    assert get_model("imagenet11k-resnet-152", tmp_path / "other", tmp_path / "mirror", digest).checked == "sha256"
    with pytest.raises(InputError, match=f"SHA256 is {digest}, expected 111"):     # there, and not the one meant
        get_model("imagenet11k-resnet-152", tmp_path / "other", tmp_path / "mirror", "1" * 64)


def test_a_network_that_wants_the_mean_subtracted_gets_it_as_a_layer(gallery, trained, tmp_path):
    prefix, _, _ = get_model("imagenet1k-inception-bn", tmp_path, gallery.address)
    assert normalization(load_checkpoint(prefix, 0).symbol) == ((123.68, 116.779, 103.939), (1, 1, 1))
    assert normalization(load_checkpoint(trained / "s0", 1).symbol) is None


@pytest.fixture
def zoo(site, tmp_path, monkeypatch):
    """A site with a network of gluoncv's zoo, as gluoncv packs it: (site, file name, images, their probabilities)."""
    net = get_zoo_block("cifar_resnet20_v1", pretrained=False)
    net.initialize(mx.init.Xavier(magnitude=6))
    images = mx.nd.random.uniform(0, 255, (2, 3, 32, 32))
    mean, std = (255 * mx.nd.array(values).reshape((1, 3, 1, 1))
                 for values in ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)))
    wanted = mx.nd.softmax(net((images - mean) / std)).asnumpy()
    net.save_parameters(str(tmp_path / "net"))
    sha1 = digest_of(tmp_path / "net", "sha1")
    monkeypatch.setitem(model_store._model_sha1, "cifar_resnet20_v1", sha1)
    name = f"cifar_resnet20_v1-{sha1[:8]}"
    (tmp_path / "net").rename(tmp_path / f"{name}.params")
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        archive.write(tmp_path / f"{name}.params", f"{name}.params")
    site.put(f"gluon/models/{name}.zip", (tmp_path / "net.zip").read_bytes())
    return site, name, images, wanted


def test_a_network_of_gluoncvs_zoo_becomes_a_checkpoint(zoo, tmp_path, monkeypatch):
    site, name, images, wanted = zoo
    monkeypatch.setenv("MXNET_GLUON_REPO", site.address)
    for mirror in (None, tmp_path):     # from the site, and from a folder with gluoncv's own file
        folder = tmp_path / f"model-{mirror is None}"
        prefix, _, checked = get_zoo_model("cifar_resnet20_v1", folder, mirror)
        assert checked == "gluoncv" and sorted(file.name for file in folder.iterdir()) == [
            "cifar_resnet20_v1-0000.params", "cifar_resnet20_v1-symbol.json"]
        checkpoint = load_checkpoint(prefix, 0)
        assert checkpoint.image_shape == (3, 32, 32)
        assert normalization(checkpoint.symbol) and "flatten0" in layers(checkpoint.symbol)
        net = features_block(checkpoint.symbol.get_children()[0], checkpoint.arg_params, checkpoint.aux_params)
        net.initialize()
        np.testing.assert_allclose(mx.nd.softmax(net(images)).asnumpy(), wanted, atol=1e-6)
    assert wanted.max() > 0.2
    site.files.clear()
    assert get_zoo_model("cifar_resnet20_v1", folder).prefix == prefix      # there already: nobody is asked


@pytest.mark.parametrize("content, message", [
    (b"<html>", "sent something else than cifar_resnet20_v1-"),
    (None, "there is no such file.\nIf the site is gone: .*~/.mxnet/models")])
def test_what_is_no_network_of_the_zoo_is_refused(zoo, tmp_path, content, message):
    site, name, _, _ = zoo
    site.files.clear()
    if content:
        site.put(f"gluon/models/{name}.zip", content)
    with pytest.raises(InputError, match=message):
        get_zoo_model("cifar_resnet20_v1", tmp_path / "m", site.address)
    assert list((tmp_path / "m").iterdir()) == []


def damaged_archives(name, kind):
    """Zip archives of which the one file cannot be had: what zipfile raises differs for each."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as archive:
        archive.writestr(f"{name}.params", CONTENT[:1000] * 3)
    whole = packed.getvalue()
    local, central = whole.index(b"PK\3\4"), whole.index(b"PK\1\2")

    def changed(*changes):
        content = bytearray(whole)
        for place, value in changes:
            content[place:place + len(value)] = value
        return bytes(content)

    data = local + 30 + len(name) + len(".params")
    yield whole[:len(whole) // 2]
    yield changed((local + 6, b"\1"), (central + 8, b"\1"))                  # encrypted
    yield changed((local + 8, b"\x63\0"), (central + 10, b"\x63\0"))         # a method that nobody knows
    yield changed((data, b"\xff" * 40))                                      # damaged content
    yield changed((central + 24, (2**31).to_bytes(4, "little")))              # says that it is enormous
    yield changed((central + 42, b"\xff\xff\xff\x7f"))                       # begins beyond the end
    yield changed((central + 46, b"x"))                                       # another name


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_that_cannot_be_unpacked_are_refused(zoo, tmp_path, kind):
    site, name, _, _ = zoo
    for content in damaged_archives(name, kind):
        site.put(f"gluon/models/{name}.zip", content)
        with pytest.raises(InputError, match=f"sent something else than {name}.zip|not the file it should be"):
            get_zoo_model("cifar_resnet20_v1", tmp_path / "m", site.address)
        assert list((tmp_path / "m").iterdir()) == []


def test_a_file_of_gluoncv_that_was_changed_is_refused(zoo, tmp_path):
    _, name, *_ = zoo
    with open(tmp_path / f"{name}.params", "ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match=f"{name}.params: not the file it should be"):
        get_zoo_model("cifar_resnet20_v1", tmp_path / "model", tmp_path)
    assert not list((tmp_path / "model").iterdir())


def test_another_network_under_the_name_of_the_zoos_is_refused(zoo, tmp_path, monkeypatch):
    site, name, _, _ = zoo
    monkeypatch.setitem(model_store._model_sha1, "cifar_resnet20_v1", name[-8:] + 32 * "0")
    with pytest.raises(InputError, match="not the file it should be. Its SHA1 is"):
        get_zoo_model("cifar_resnet20_v1", tmp_path / "m", site.address)
    assert list((tmp_path / "m").iterdir()) == []


def test_a_page_instead_of_a_network_is_refused(gallery, tmp_path):
    gallery.put(f"{GALLERY['imagenet1k-resnet-18'].path}.params", b"<html>This domain is for sale</html>")
    with pytest.raises(InputError, match="sent something else than a checkpoint"):
        get_model("imagenet1k-resnet-18", tmp_path, gallery.address)
    assert list(tmp_path.iterdir()) == []


def test_a_site_that_is_gone_and_what_to_do_then(gallery, command, tmp_path):
    flags = "imagenet1k-resnet-18", "--output", tmp_path, "--mirror", gallery.address
    del gallery.files["/imagenet/resnet/18-layers/resnet-18-0000.params"]
    said = command("tools/get_model.py", *flags, expect=2).stderr
    assert "resnet-18-0000.params: there is no such file" in said and "--mirror" in said
    gallery.server.shutdown()
    gallery.server.server_close()
    with pytest.raises(Unavailable, match="(?s)cannot be fetched.*import_weights.py"):
        main(map(str, flags), standalone_mode=False)


def test_flags_that_cannot_be_used(capsys, tmp_path):
    main([], standalone_mode=False)
    assert capsys.readouterr().out.split() == [*GALLERY, *pretrained_names()]
    for flags, message in [(["resnet-1"], "not a known network. There are:\nimagenet11k-resnet-152 .*vgg19_bn"),
                           (["vgg16", "--sha256", "0" * 64], "--sha256 was given for vgg16"),
                           (["imagenet1k-resnet-18", "--sha256", "abc"], "--sha256 is abc; expected 64 hex"),
                           (["imagenet1k-resnet-18", "--output", str(tmp_path / "file" / "m"),
                             "--mirror", str(tmp_path)], "file/m cannot be written"),
                           *[([name, "--output", str(tmp_path / "m"), "--mirror", mirror], "If the site is gone")
                             for name in ("imagenet1k-resnet-18", "cifar_resnet20_v1")
                             for mirror in ("http://[x", "~nobody-of-this-name/x", str(tmp_path / ("x" * 300)))]]:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match=message):
            main(flags, standalone_mode=False)


def test_a_network_that_is_there_is_not_given_another(gallery, zoo, trained, tmp_path):
    site, _, _, _ = zoo
    for name, here, get in (("imagenet1k-inception-bn", "imagenet1k-inception-bn", get_model),
                            ("cifar_resnet20_v1", "cifar_resnet20_v1", get_zoo_model)):
        folder = tmp_path / name
        folder.mkdir()
        for epoch, graph in ((1, True), (0, False)):    # the epochs of a run; parameters without a network
            for file in folder.iterdir():
                file.unlink()
            (folder / f"{here}-{epoch:04d}.params").write_text("mine")
            if graph:
                (folder / f"{here}-symbol.json").write_text("mine")
            before = sorted(os.listdir(folder))
            with pytest.raises(InputError, match=f"`folder`: the epochs {epoch} of .* are there"):
                get(name, folder, site.address)
            assert sorted(os.listdir(folder)) == before
            assert {file.read_text() for file in folder.iterdir()} == {"mine"}


def test_a_user_s_files_of_gluoncv_are_not_removed(zoo, tmp_path):
    site, name, _, _ = zoo
    (tmp_path / "m").mkdir()
    for ending in ("zip", "params"):
        (tmp_path / "m" / f"{name}.{ending}").write_text("mine")
    get_zoo_model("cifar_resnet20_v1", tmp_path / "m", site.address)
    assert [(tmp_path / "m" / f"{name}.{ending}").read_text() for ending in ("zip", "params")] == ["mine", "mine"]


def test_a_network_that_has_not_come_whole_is_fetched_again(gallery, tmp_path, monkeypatch):
    class Died(BaseException):
        pass

    def die(*_):
        raise Died

    monkeypatch.setattr("transfer_gluon.exchange.gallery.write_symbol", die)     # all has come, and nothing is written
    with pytest.raises(Died):
        get_model("imagenet1k-inception-bn", tmp_path, gallery.address)
    monkeypatch.undo()
    prefix, _, _ = get_model("imagenet1k-inception-bn", tmp_path, gallery.address)
    assert normalization(load_checkpoint(prefix, 0).symbol)


def test_the_command_passes_on_folder_mirror_and_digest(monkeypatch, tmp_path):
    called = []
    for place in ("transfer_gluon.exchange.gallery.get_model", "transfer_gluon.exchange.zoo_files.get_zoo_model"):
        monkeypatch.setattr(place, lambda *given: called.append(given) or SimpleNamespace(
            prefix="p", sha256="0", checked=None))
    flags = ["--output", "out", "--mirror", "http://localhost"]
    main.main(["imagenet1k-resnet-18", *flags, "--sha256", "a" * 64], standalone_mode=False)
    main.main(["alexnet", *flags], standalone_mode=False)
    assert called == [("imagenet1k-resnet-18", "out", "http://localhost", "a" * 64),
                      ("alexnet", "out", "http://localhost")]
