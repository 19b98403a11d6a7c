"""The ground that everything stands on."""
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from base.errors import InputError, first_ten
from base.files import replacing, writable_folder
from base.framework import mx


def run_python(code):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)


def test_mxnet_and_gluoncv_import_and_numpy_stays_as_it_was():
    code = ("import numpy; names = set(dir(numpy)); from base.framework import mx; import warnings; "
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
    writable_folder(tmp_path / "a" / "b" / "prefix", "--model-prefix")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--model-prefix: the folder .*file cannot be written"):
        writable_folder(tmp_path / "file" / "prefix", "--model-prefix")


def test_exit_codes_tell_whose_turn_it_is():
    code = ("import click; from base.commands import exit_codes; from base.errors import InputError, Stopped\n"
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
