"""Pickles of strangers, read as data: containers, numbers and texts are made, nothing is imported, nothing is called.

`pickle.Unpickler` with a `find_class` of its own is not enough for such files. Seven bytes of it ask for 64 GB (a high
place in its memo), a tuple nested a million deep as a key ends the process (`hash` recurses), and BUILD sets attributes
of whatever `find_class` gives. `pickletools` takes a pickle apart here, and what its operations do stands below.
"""
import codecs
import pickletools
import warnings

# Operations. Weights take some tens of them a tensor. Each makes objects of 200 bytes at most, beside the text that it
# takes from the file: 400 MB.
_MOST = 2_000_000


class Refused(Exception):
    """A pickle asks for something that is not data; the message is its name."""


class Damaged(ValueError):
    """No pickle, or not a whole one."""


class Name:
    """``module.name``, which a pickle mentions and nobody imports."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name


class Ordered(dict):
    """What was a collections.OrderedDict."""

    __slots__ = ()


class Made:
    """What a function of ours made, and a pickle may give a state to by BUILD."""

    __slots__ = ()

    def set_state(self, state):
        """Raises: Refused or Damaged for any other state than one of data."""
        raise NotImplementedError


def read_pickle(file, known, persistent=None):
    """The object of a pickle, whose end `file` then stands at. A set comes as a list, a frozenset as a tuple.

    Texts of Python 2, which may be bytes, come as texts with a letter a byte (latin-1).

    Parameters
    ----------
    file : a binary file
    known : dict of str to function or None
        Names that a pickle may mention. Where it calls one, the function of ours is called with its arguments; it must
        do work that is bounded whatever they are, and copy nothing. None: a name that cannot be called.
        ``collections.OrderedDict`` is known in any case.
    persistent : function, optional
        Makes the object of a persistent id.

    Raises: Refused for what is neither data nor known; Damaged.

    >>> import io, pickle
    >>> read_pickle(io.BytesIO(pickle.dumps({"a": [1, (2.5, None)]})), {})
    {'a': [1, (2.5, None)]}
    >>> read_pickle(io.BytesIO(pickle.dumps(print)), {})
    Traceback (most recent call last):
    transfer_gluon.exchange.pickle_machine.Refused: builtins.print
    """
    machine = _Machine(known, persistent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # pickletools' own, of a backslash in a name
            for name, argument in _operations(file):
                machine.do(name, argument)
        return machine.stack.pop()
    # What pickletools raises for bytes that are no pickle, and what operations raise whose objects are not there, or
    # are others than they need.
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise Damaged(error if isinstance(error, Damaged) else "a damaged pickle") from None


def _operations(file):
    """Name and argument of each operation, as pickletools.genops gives them.

    But for a STRING that is no ASCII: that is an error there before Python 3.12.
    """
    while True:
        operation = pickletools.code2op.get(file.read(1).decode("latin-1"))
        if operation is None:
            raise Damaged("no pickle, or cut off")
        if operation.name == "STRING":
            argument = _string(file.readline())
        else:
            argument = operation.arg and operation.arg.reader(file)
        yield operation.name, argument
        if operation.name == "STOP":
            return


def _string(line):
    """A text of Python 2, in quotes and with its escapes."""
    if len(line) < 3 or line[:1] != line[-2:-1] or line[:1] not in (b"'", b'"') or line[-1:] != b"\n":
        raise Damaged("a text without quotes")
    return codecs.escape_decode(line[1:-2])[0].decode("latin-1")


class _Machine:
    def __init__(self, known, persistent):
        self.known, self.persistent, self.left = known, persistent, _MOST
        self.stack, self.outer, self.memo = [], [], {}

    def do(self, name, argument):
        self.spend(1)
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _SIMPLE:
            _SIMPLE[name](self)
        elif name in _WITH_ARGUMENT:
            _WITH_ARGUMENT[name](self, argument)
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise Refused(name if argument is None else f"{name} {argument}")

    def spend(self, number):
        self.left -= number
        if self.left < 0:
            raise Damaged(f"more than {_MOST} operations")

    def mark(self):
        self.outer.append(self.stack)
        self.stack = []

    def marked(self):
        """What has come since the mark."""
        items, self.stack = self.stack, self.outer.pop()
        return items

    def take(self, number):
        """The last `number` objects."""
        if number > len(self.stack):
            raise Damaged("an empty stack")
        items = self.stack[-number:]
        del self.stack[-number:]
        return items

    def pop(self):
        if self.stack:
            self.stack.pop()
        else:
            self.marked()

    def tuple(self, items):
        self.stack.append(tuple(items))

    def list(self, items):
        self.stack.append(items)

    def extend(self, items):
        if type(self.stack[-1]) is not list:
            raise Damaged("members of no list and no set")
        self.stack[-1].extend(items)

    def set_items(self, items):
        if not isinstance(self.stack[-1], dict) or len(items) % 2:
            raise Damaged("items of no dict")
        self.stack[-1].update(zip(map(_key, items[::2]), items[1::2]))

    def dict(self, items):
        self.stack.append({})
        self.set_items(items)

    def name(self, name):
        if name != "collections.OrderedDict" and name not in self.known:
            raise Refused(name)
        self.stack.append(Name(name))

    def stack_global(self):
        module, name = self.take(2)
        if type(module) is not str or type(name) is not str:
            raise Damaged("a name that is no text")
        self.name(f"{module}.{name}")

    def reduce(self):
        called, arguments = self.take(2)
        if type(arguments) is not tuple or len(arguments) > 10:
            raise Damaged("arguments that are no short tuple")
        if type(called) is not Name:
            raise Refused(f"REDUCE of {type(called).__name__}")
        if called.name == "collections.OrderedDict":
            function = self.ordered
        elif not (function := self.known[called.name]):
            raise Refused(f"REDUCE of {called.name}")
        self.stack.append(function(*arguments))

    def ordered(self, items=()):
        """An OrderedDict, to which Python 2 gave its items as an argument."""
        self.spend(len(items))      # which a pickle can hand over again and again
        return Ordered((_key(name), value) for name, value in items)

    def build(self):
        """The attributes of an OrderedDict, such as the ``_metadata`` of a state dict, are left out."""
        made, state = self.take(2)
        if isinstance(made, Made):
            made.set_state(state)
        elif type(made) is not Ordered or type(state) is not dict:
            raise Refused(f"BUILD of {made.name if type(made) is Name else type(made).__name__}")
        self.stack.append(made)

    def persist(self, key):
        if not self.persistent:
            raise Refused("a persistent id")
        self.stack.append(self.persistent(key))


def _key(key):
    """A key of a dict: short, and hashed in no time."""
    scalars = key if type(key) is tuple and len(key) < 10 else (key,)
    for scalar in scalars:
        if type(scalar) not in (str, bytes, int, float, bool, type(None)) or type(scalar) is int and abs(scalar) >> 64:
            raise Damaged(f"a key that is {type(key).__name__}")
    return key


# Operations that put what they hold on the stack.
_VALUES = {
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8"}
_SIMPLE = {
    "NONE": lambda m: m.stack.append(None), "NEWTRUE": lambda m: m.stack.append(True),
    "NEWFALSE": lambda m: m.stack.append(False), "MARK": _Machine.mark, "POP": _Machine.pop,
    "POP_MARK": _Machine.marked, "DUP": lambda m: m.stack.append(m.stack[-1]),
    "EMPTY_LIST": lambda m: m.stack.append([]), "LIST": lambda m: m.list(m.marked()),
    "APPEND": lambda m: m.extend(m.take(1)), "APPENDS": lambda m: m.extend(m.marked()),
    "EMPTY_TUPLE": lambda m: m.tuple(()), "TUPLE": lambda m: m.tuple(m.marked()),
    "TUPLE1": lambda m: m.tuple(m.take(1)), "TUPLE2": lambda m: m.tuple(m.take(2)),
    "TUPLE3": lambda m: m.tuple(m.take(3)),
    # Sets as lists: their members need not be hashed, which recurses.
    "EMPTY_SET": lambda m: m.stack.append([]), "ADDITEMS": lambda m: m.extend(m.marked()),
    "FROZENSET": lambda m: m.tuple(m.marked()),
    "EMPTY_DICT": lambda m: m.stack.append({}), "DICT": lambda m: m.dict(m.marked()),
    "SETITEM": lambda m: m.set_items(m.take(2)), "SETITEMS": lambda m: m.set_items(m.marked()),
    "MEMOIZE": lambda m: m.memo.update({len(m.memo): m.stack[-1]}),
    "STACK_GLOBAL": _Machine.stack_global, "REDUCE": _Machine.reduce, "BUILD": _Machine.build,
    "BINPERSID": lambda m: m.persist(*m.take(1))}
_WITH_ARGUMENT = {
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda m, place: m.memo.update({place: m.stack[-1]})),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, place: m.stack.append(m.memo[place])),
    "GLOBAL": lambda m, name: m.name(name.replace(" ", ".", 1)), "PERSID": _Machine.persist}
