"""The ground that everything stands on."""
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.files import replacing, writable_folder
from transfer_gluon.base.framework import mx


def run_python(code):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)


def test_mxnet_and_gluoncv_import_and_numpy_stays_as_it_was():
    code = ("import numpy; names = set(dir(numpy)); from transfer_gluon.base.framework import mx; import warnings; "
            "warnings.simplefilter('ignore'); import gluoncv, scipy.stats, sklearn.linear_model, matplotlib.pyplot; "
            "left = [n for n in set(dir(numpy)) - names if not isinstance(getattr(numpy, n), type(numpy))]; "
            "assert not left, left; assert not hasattr(numpy, 'float'); "
            "net = gluoncv.model_zoo.get_model('cifar_resnet20_v2', pretrained=False); net.initialize(); "
            "print(net(mx.nd.zeros((1, 3, 32, 32))).shape)")
    done = run_python(code)
    assert done.stdout == "(1, 10)\n", done.stderr


def test_parameters_that_are_numpy_numbers_reach_mxnet():
    shape = tuple(np.array([2, 3]))
    assert mx.nd.zeros((1, 6)).reshape(shape).shape == (2, 3)
    assert mx.sym.var("x").reshape(shape).infer_shape(x=(6,))[1] == [(2, 3)]
    packed = mx.recordio.pack(mx.recordio.IRHeader(0, np.array([1.0, 2.0]), 3, 0), b"content")
    assert mx.recordio.unpack(packed)[0].label.tolist() == [1, 2]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["x"]
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["x"]


def test_folders_that_cannot_be_written_are_refused(tmp_path):
    writable_folder(tmp_path / "a" / "b" / "prefix", "model_prefix")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="`model_prefix`: the folder .*file cannot be written") as refused:
        writable_folder(tmp_path / "file" / "prefix", "model_prefix")
    assert refused.value.parameter == "model_prefix" and refused.value.value == tmp_path / "file" / "prefix"


def test_exit_codes_tell_whose_turn_it_is():
    code = ("import click; from transfer_gluon.cli.exit_codes import exit_codes; "
            "from transfer_gluon.base.errors import InputError, Stopped\n"
            "@click.command()\ndef main(): raise {}('what')\nexit_codes(main)()")
    done = run_python(code.format("InputError"))
    assert done.returncode == 2 and done.stderr.endswith(": what\n") and "Traceback" not in done.stderr
    done = run_python(code.format("Stopped"))
    assert done.returncode == 3 and done.stderr.endswith(": what\n") and "Traceback" not in done.stderr
    done = run_python(code.format("KeyboardInterrupt"))
    assert done.returncode == 130 and "Traceback" not in done.stderr
    done = run_python(code.format("KeyError"))
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_ten_are_shown_and_the_rest_counted():
    assert first_ten(range(10)).count("\n") == 10 and "more" not in first_ten(range(10))
    assert first_ten(range(12)).endswith("… and 2 more")


def test_temporary_files_of_other_machines_are_judged_by_their_age(tmp_path):
    path, day = tmp_path / "x", 24 * 3600
    with replacing(path) as temporary:
        place, process = temporary.name[len(".x."):-len(".tmp")].rsplit(".", 1)
        temporary.write_text("first")
    assert int(process) == os.getpid()
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left = {"gone": f".x.{place}.{dead.stdout.strip()}.tmp", "alive": f".x.{place}.{os.getppid()}.tmp",
            "there": f".x.elsewhere-1.{dead.stdout.strip()}.tmp", "old": ".x.elsewhere-1.5.tmp", "older": ".x.5.tmp",
            "huge": f".x.{place}.{10**30}.tmp", "other": ".xx.elsewhere-1.5.tmp"}
    for name, file in left.items():
        (tmp_path / file).write_text(name)
        if name.startswith("old"):
            os.utime(tmp_path / file, (time.time() - day - 60,) * 2)
    (tmp_path / f".x.{place}.folder.tmp").mkdir()
    with replacing(path) as temporary:
        temporary.write_text("second")
    kept = {name for name, file in left.items() if (tmp_path / file).exists()}
    assert kept == {"alive", "there", "other"} and path.read_text() == "second"


def test_a_folder_is_tried_without_leaving_or_meeting_anything(tmp_path):
    (tmp_path / f".writable.{os.getpid()}.tmp").mkdir()     # whatever others call theirs
    writable_folder(tmp_path / "x", "out")
    with pytest.raises(InputError, match="`out`: the folder .* cannot be written: .*null"):
        writable_folder(f"{tmp_path}/a\0b/x", "out")


def test_what_a_link_leads_to_is_replaced_and_a_pipe_or_a_device_is_not(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "x")
    os.mkfifo(tmp_path / "pipe")
    with replacing(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "x").read_text() == "new"
    for use in (replacing(tmp_path / "pipe").__enter__, lambda: writable_folder(tmp_path / "pipe", "out")):
        with pytest.raises(InputError, match="pipe: is a pipe or a device, and a file would take its place"):
            use()
    assert (tmp_path / "pipe").is_fifo() and sorted(os.listdir(tmp_path)) == ["link", "pipe", "there"]


def test_names_that_leave_no_room_are_refused_at_once(tmp_path):
    most = int(re.search("expected at most ([0-9]+) there", str(pytest.raises(
        InputError, writable_folder, tmp_path / ("x" * 250), "model_prefix").value))[1])
    writable_folder(tmp_path / ("x" * most), "model_prefix")
    with replacing(tmp_path / f"{'x' * most}-0001.params") as temporary:
        temporary.write_text("")


STREAMS = """import os, sys
from transfer_gluon.cli.exit_codes import exit_codes
def main(standalone_mode):
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
    os.write(2, b"said by a library")
    print("said to a person" + chr(0xb1))
exit_codes(main)()"""


@pytest.mark.parametrize("closing", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_place_of_a_stream_that_is_closed(tmp_path, closing):
    done = subprocess.run(["sh", "-c", f'exec "$@" {closing}', "sh", sys.executable, "-c", STREAMS, tmp_path / "x"],
                          cwd=ROOT, capture_output=True)
    assert done.returncode == 0 and (tmp_path / "x").read_bytes() == b""


def test_output_that_cannot_be_written_or_encoded(tmp_path):
    command = [sys.executable, "-c", STREAMS, tmp_path / "x"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and done.stdout == b"said to a person\\xb1\n"
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2 and b"No space left" in done.stderr and b"Traceback" not in done.stderr
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.returncode == 2 and done.stderr == b"said by a library"


def test_the_zoo_can_be_the_first_thing_that_is_imported():
    done = run_python("import warnings; warnings.simplefilter('ignore'); "
                      "from transfer_gluon.base.gluoncv_zoo import get_model_list; print(len(get_model_list()) > 100)")
    assert done.stdout == "True\n", done.stderr
