"""Pickles of NumPy arrays: of every protocol, of Python 2, and those of strangers, of which nothing runs."""
import os
import pickle
import struct
import sys
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest
from torch_writer import Raw, mutant_of, operations, pickled

from transfer_gluon.base.errors import InputError
from transfer_gluon.exchange.numpy_pickle import read_pickle

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)
PACK = {
    "features": VALUES, "labels": [0, 1, 2], "classes": ("a", "ü"), "fortran": np.asfortranarray(VALUES),
    "big-endian": np.arange(3, dtype=">i2"), "truths": np.array([True, False]), "complex": np.array([1j], np.complex64),
    "texts": np.array(["a", "böc"]), "bytes": np.array([b"a", b"bc"]), "none": np.zeros((0, 3), np.uint8),
    "number": np.array(3.5), "scalar": np.float64(0.25), "truth": np.bool_(True), "more": {
        "raw": b"\x00\xff\n", "empty": b"", "nothing": None, "long": 2**70, "float": 0.5, "i": 2j, "yes": True}}


def written(path, value):
    """A file with the pickle of a value, or with these operations."""
    path.write_bytes(pickled(value))
    return path


def same(found, wanted):
    if isinstance(wanted, dict):
        return list(found) == list(wanted) and all(same(found[name], wanted[name]) for name in wanted)
    if isinstance(wanted, (np.ndarray, np.generic)):
        return (type(found), found.shape, found.dtype) == (type(wanted), wanted.shape, wanted.dtype.newbyteorder("=")) \
            and (found == wanted).all() and found.dtype.isnative
    return type(found) is type(wanted) and found == wanted


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol(protocol, tmp_path):
    (tmp_path / "x.p").write_bytes(pickle.dumps(PACK, protocol))
    assert same(read_pickle(tmp_path / "x.p"), PACK)


def test_what_numpy_2_writes(tmp_path):
    content = pickle.dumps(PACK, 2).replace(b"numpy.core", b"numpy._core")
    (tmp_path / "x.p").write_bytes(content)
    assert same(read_pickle(tmp_path / "x.p"), PACK)


def array(content, kind="f4", shape=(3, 4), order="<", fortran=False, size=-1, version=3):
    """An array as Python 2 wrote it, whose texts are operations, too."""
    dtype = b"cnumpy\ndtype\n" + operations((Raw(short(kind)), 0, 1)) + b"R"
    dtype += operations((version, Raw(short(order)), None, None, None, size, size, 0)) + b"b"
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85U\1btR"
    return Raw(made + operations((1, shape, Raw(dtype), fortran, Raw(content))) + b"b")


def short(text):
    """A text of Python 2 of up to 255 bytes."""
    text = text.encode() if isinstance(text, str) else text
    return b"U" + bytes([len(text)]) + text


def test_files_of_python_2(tmp_path):
    batch = {Raw(short("data")): array(b"T" + struct.pack("<i", 6) + b"\xff\0\x80\n'\\", "u1", (2, 3), "|"),
             Raw(short("filenames")): [Raw(short(b"caf\xe9.png"))], Raw(short("labels")): [3, 4]}
    found = read_pickle(written(tmp_path / "data_batch_1", batch))
    assert found["filenames"] == ["caf\xe9.png"] and found["labels"] == [3, 4]
    assert found["data"].tolist() == [[255, 0, 128], [10, 39, 92]] and found["data"].dtype == np.uint8
    # protocol 0: texts in quotes, with escapes
    text = (b"(dp0\nS'data'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntS'b'\ntRp4\n"
            b"(I1\n(I2\nI3\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\n"
            b"S'\\xff\\x00\\x80\\n\\'\\\\'\ntbsS\"la'bels\"\n(lp5\nL7L\naI8\nas.")
    (tmp_path / "x.p").write_bytes(text)
    found = read_pickle(tmp_path / "x.p")
    assert found["data"].tolist() == [[255, 0, 128], [10, 39, 92]] and found["la'bels"] == [7, 8]


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_dictionary_in_a_npy_file(protocol, tmp_path, monkeypatch):
    layers = {"conv1": [VALUES, np.zeros(4, np.float32)], "fc6": [VALUES.T, np.ones(3)]}
    dump = pickle.dump
    monkeypatch.setattr(pickle, "dump", lambda value, file, **_: dump(value, file, protocol=protocol))
    np.save(tmp_path / "x.npy", layers)
    found = read_pickle(tmp_path / "x.npy")
    assert list(found) == ["conv1", "fc6"]
    assert all(same(ours, theirs) for name in layers for ours, theirs in zip(found[name], layers[name]))
    for other in (VALUES, np.array([{}, print], object), np.array(print, object)):
        np.save(tmp_path / "x.npy", other)
        with pytest.raises(InputError, match=r"x.npy: .*; expected a pickle of NumPy arrays, dicts"):
            read_pickle(tmp_path / "x.npy")


def test_sets_come_as_lists_and_ordered_dicts_as_dicts(tmp_path):
    for protocol in range(6):
        (tmp_path / "x.p").write_bytes(pickle.dumps([{7}, frozenset([8]), OrderedDict(a=VALUES)], protocol))
        a, b, c = read_pickle(tmp_path / "x.p")
        assert list(a) == [7] and list(b) == [8] and type(c) is dict and same(c, {"a": VALUES})


def test_what_is_written_often_is_one_thing(tmp_path):
    (tmp_path / "x.p").write_bytes(pickle.dumps([VALUES, VALUES, {"again": VALUES}]))
    found = read_pickle(tmp_path / "x.p")
    assert found[0] is found[1] is found[2]["again"]


def test_a_high_place_in_the_memo_takes_no_memory(tmp_path):
    assert read_pickle(written(tmp_path / "x.p", Raw(b"K\1r\xff\xff\xff\xff"))) == 1


CALL = operations(("touch ran",))
ARRAY = bytes(operations(Raw(array(operations(Raw(b"C\x30" + VALUES.tobytes()))))))
DTYPE = b"cnumpy\ndtype\n" + operations(("f4", False, True)) + b"R"
HARMFUL = {
    "os.system": (b"cos\nsystem\n" + CALL + b"R", "os.system"),
    "posix.system by texts": (operations("posix") + operations("system") + b"\x93" + CALL + b"R", "posix.system"),
    "subprocess": (b"csubprocess\nPopen\n" + CALL + b"R", "subprocess.Popen"),
    "eval": (b"cbuiltins\neval\n" + operations(("open('ran', 'w')",)) + b"R", "builtins.eval"),
    "exec of Python 2": (b"c__builtin__\nexec\n" + operations(("open('ran', 'w')",)) + b"R", "__builtin__.exec"),
    "open": (b"cbuiltins\nopen\n" + operations(("ran", "w")) + b"R", "builtins.open"),
    "getattr": (b"cbuiltins\ngetattr\n" + operations((1, "real")) + b"R", "builtins.getattr"),
    "numpy.load": (b"cnumpy\nload\n" + operations(("x.npy", None, True)) + b"R", "numpy.load"),
    "numpy.memmap": (b"cnumpy.core\nmemmap\n" + operations(("ran", "u1", "w+", 0, (3,))) + b"R", "numpy.core.memmap"),
    "a method of arrays": (b"cnumpy\nndarray.tofile\n" + operations((Raw(ARRAY), "ran")) + b"R",
                           "numpy.ndarray.tofile"),
    "an array's class, called": (b"cnumpy\nndarray\n" + operations(((2**40,),)) + b"R", "REDUCE of numpy.ndarray"),
    "another class of arrays": (b"cnumpy.core.multiarray\n_reconstruct\n"
                                + operations((Raw(b"cnumpy\ndtype\n"), (0,), "b")) + b"R", "the class numpy.dtype"),
    "numpy's runner of tests": (b"cnumpy.testing._private.utils\nrunstring\n" + operations(("open('ran', 'w')", {}))
                                + b"R", "numpy.testing._private.utils.runstring"),
    "INST": (b"(" + operations("touch ran") + b"ios\nsystem\n", "INST os system"),
    "OBJ": (b"(cnumpy\ndtype\n" + operations("f4") + b"o", "OBJ"),
    "NEWOBJ": (b"cnumpy\nndarray\n" + operations((2,)) + b"\x81", "NEWOBJ"),
    "NEWOBJ_EX": (b"cnumpy\nndarray\n)}\x92", "NEWOBJ_EX"),
    "BUILD of a dict": (b"}}" + operations("keys") + b"Nsb", "BUILD of dict"),
    "BUILD of a class": (b"cnumpy\nndarray\n}" + operations("__init__") + b"Nsb", "BUILD of numpy.ndarray"),
    "REDUCE of an array": (ARRAY + b")R", "REDUCE of _Array"), "REDUCE of a text": (b"U\6system)R", "REDUCE of str"),
    "the registry of extensions": (b"\x82\1", "EXT1 1"), "a persistent id": (b"Pos.system\n", "a persistent id"),
    "an id from the stack": (operations("os.system") + b"Q", "a persistent id"), "a buffer": (b"\x97", "NEXT_BUFFER"),
    "objects that are callables": (array(operations([Raw(b"cos\nsystem\n")]), "O8", (1,), "|"), "os.system"),
    "objects": (array(operations([1, 2]), "O8", (2,), "|"), "an array of objects"),
    "one object": (array(operations([1]), "O8", (), "|"), "an array of objects"),
    "a number that is an object": (b"cnumpy.core.multiarray\nscalar\n"
                                   + operations((Raw(DTYPE.replace(b"f4", b"O8")), 1)) + b"R", "that is an object"),
    "a type of parts": (DTYPE + operations((3, "|", None, ("a",), {"a": (1, 0)}, 4, 1, 0)) + b"b", "parts with names"),
    "times": (b"cnumpy\ndtype\n" + operations(("M8", False, True)) + b"R", "an array of M8"),
    "a type by a formula": (b"cnumpy\ndtype\n" + operations(("f4,f4", False, True)) + b"R", "an array of f4,f4"),
    "another codec": (b"c_codecs\nencode\n" + operations(("x", "zip")) + b"R", "another encoding than latin1"),
    "decoding": (b"c_codecs\ndecode\n" + operations(("x", "rot13")) + b"R", "_codecs.decode"),
    "a class alone": (b"cnumpy\nndarray\n", "numpy.ndarray"), "a type alone": (DTYPE, "_Type"),
    "a module": (b"cthis\ns\n", "this.s"),
}


def refusal(path):
    with pytest.raises(InputError) as refused:
        read_pickle(path)
    assert str(path.name) in str(refused.value) and len(str(refused.value).splitlines()) == 1
    return str(refused.value)


@pytest.mark.parametrize("header", [b"", b"\x93NUMPY\1\0F\0{'descr': '|O', 'fortran_order': False, 'shape': (), }\n"])
@pytest.mark.parametrize("what", HARMFUL)
def test_what_is_more_than_data_is_refused_by_name(what, header, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    operation, name = HARMFUL[what]
    value = {"features": Raw(ARRAY), "x": Raw(operation)}
    value = array(operations([value]), "O8", (), "|") if header else value
    (tmp_path / "bad.p").write_bytes(header + pickled(value))
    said = refusal(tmp_path / "bad.p")
    assert "bad.p: holds more than data: it asks for" in said and name in said and "; expected a pickle of" in said
    assert os.listdir() == ["bad.p"] and "this" not in sys.modules


LIES = {
    "too few bytes": array(b"C\4abcd"), "no bytes": array(b"N"), "bytes that are a list": array(b"]"),
    "a text that is no bytes": array(operations("ü" * 23 + "€"), "u1", (24,), "|"),
    "a shape of any size": array(b"C\0", "u1", (2**46, 2**46)),
    "nothing, astronomically": array(b"C\0", "u1", (0, 2**60)),
    "a negative length": array(b"C\4abcd", "u1", (-4,)), "a shape that is no tuple": array(b"C\4abcd", "u1", [4]),
    "40 dimensions": array(b"C\1a", "u1", (1,) * 40), "texts without letters": array(b"C\0", "S0", (2**40,)),
    "a type of another size": DTYPE + operations((3, "<", None, None, None)) + b"b",
    "an order of bytes that is none": DTYPE + operations((3, "middle", None, None, None, -1, -1, 0)) + b"b",
    "a type's state that is no tuple": DTYPE + b"}b", "an array's state that is no tuple": ARRAY[:-1] + b"0}b",
    "two states": ARRAY + operations((1, (0,), Raw(DTYPE), False, b"")) + b"b",
    "an array without numbers": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85U\1btR",
    "an array whose type is a text": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85U\1btR"
                                     + operations((1, (1,), "f4", False, b"abcd")) + b"b",
    "arguments without end": b"cnumpy\ndtype\n(" + b"N" * 1000 + b"tR",
    "an array of its own bytes, again and again": b"](T" + struct.pack("<i", 10**6) + bytes(10**6) + b"q\0" + b"".join(
        bytes(array(b"h\0", "u1", (10**6,), "|")) for _ in range(300)) + b"e",
    "lists that are there often": b"]" + b"".join(b"q%c](h%ch%ce" % (place, place, place) for place in range(120)),
    "lists 5,000 deep": b"]" * 5000 + b"a" * 4999, "tuples 200,000 deep": b")" + b"\x85" * 200_000,
    "a list that holds itself": b"]q\0h\0a", "a dict that holds itself": b"}q\0U\1ah\0s",
    "a tuple that holds itself": b"]q\0h\0\x85a", "a deep key": b"})" + b"\x85" * 500_000 + b"Ns",
    "a text of 2⁶⁰ bytes": b"\x8d" + struct.pack("<Q", 2**60), "bytes of 2⁶² bytes": b"\x8e" + b"\xff" * 7 + b"\x3f",
    "a text of 2³⁰ bytes": b"T" + struct.pack("<i", 2**30),
    "a text without quotes": b"Sabc\n", "a text with half an escape": b"S'\\x'\n", "no operation": b"\xff",
    "an empty stack": b"00000R", "a number of 10⁵ digits": b"I" + b"9" * 10**5 + b"\n",
}


@pytest.mark.parametrize("what", LIES)
def test_files_that_lie_are_refused_in_little_memory(what, tmp_path):
    file = written(tmp_path / "x.p", Raw(b"](" + bytes(LIES[what]) + b"e"))
    tracemalloc.start()
    try:
        said = refusal(file)
        assert tracemalloc.get_traced_memory()[1] < 150e6
    finally:
        tracemalloc.stop()
    assert "expected a pickle of NumPy arrays" in said
    assert ("x.p: an array of shape (3, 4) with 4 bytes (" in said) == (what == "too few bytes")


def test_what_is_no_pickle_is_refused(tmp_path):
    for content in (b"", b"\x89PNG\r\n", b"PK\3\4", b"\x93NUMPY", b"{'features': 1}", b"\0" * 100):
        (tmp_path / "x.p").write_bytes(content)
        assert "; expected a pickle of" in refusal(tmp_path / "x.p")
    (tmp_path / "pipe").mkdir()
    for name in ("missing", "pipe"):
        refusal(tmp_path / name)


def test_files_that_are_cut_off_are_refused(tmp_path):
    content = pickle.dumps(PACK, 2)
    for keep in range(0, len(content) - 1, 13):
        (tmp_path / "x.p").write_bytes(content[:keep])
        refusal(tmp_path / "x.p")


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_mutants_are_read_or_refused(protocol, tmp_path, monkeypatch):
    """Bytes changed, put in and left out; and operations put in."""
    monkeypatch.chdir(tmp_path)
    rng, file, content = np.random.default_rng(protocol), tmp_path / "x.p", pickle.dumps(PACK, protocol)
    harmful = [bytes(operation) for operation, _ in HARMFUL.values()]
    refused = 0
    for _ in range(300):
        file.write_bytes(mutant_of(content, rng, harmful))
        try:
            pickle.dumps(read_pickle(file))     # what was read is data
        except InputError as error:
            assert "x.p: " in str(error) and "; expected a pickle of" in str(error)
            assert len(str(error).splitlines()) == 1
            refused += 1
        assert os.listdir() == ["x.p"]
    assert 100 < refused < 295
