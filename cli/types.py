"""Types of flags, and flags that would do nothing: what click lets pass is what the libraries take."""
import re
import shlex

import click

from transfer_gluon.base.errors import InputError, does_nothing


def given(name):
    """Whether the flag of a parameter stands on the command line."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def refuse_idle(idle):
    """Refuse flags that were given on the command line, and do nothing there, even if they give the default.

    `idle`: from the names of parameters to why. Raises: InputError.
    """
    for name, why in idle.items():
        if given(name):
            raise does_nothing(name, why, click.get_current_context().params[name])


def words(name, texts):
    """The words of `texts`, as a shell would cut them; `name` is that of the parameter that holds them.

    Raises: InputError where a quotation mark is left open.

    >>> words("common", ["--lr 0.1", "--source 'my photos'"])
    ['--lr', '0.1', '--source', 'my photos']
    """
    try:
        return [word for text in texts for word in shlex.split(text)]
    except ValueError as error:
        raise InputError(f"`{name}` is {' '.join(texts)}, which cannot be cut into words: {error}.", name, texts,
                         "flags as a shell takes them") from None


class Number(click.FloatRange):
    """A number in a range that float32 holds too: click's own type takes ``nan``, ``inf`` and ``1e308``.

    >>> Number(min=0).convert("0.5", None, None)
    0.5
    """

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        if not abs(number) <= 3.4e38:
            self.fail(f"{value} is not a number that float32 holds, up to 3.4e38.", param, ctx)
        return number


class Numbers(click.ParamType):
    """As many numbers as there are names, separated by commas, as a tuple.

    Parameters
    ----------
    metavar : str
        The names, such as ``RED,GREEN,BLUE``; also what a message says is expected.
    kind : type
        int or float.
    least, most : number
        Of each of them.

    >>> Numbers("RED,GREEN,BLUE").convert("123.68,116.779,103.939", None, None)
    (123.68, 116.779, 103.939)
    """

    name = "numbers"

    def __init__(self, metavar, kind=float, least=0, most=1e6):
        self._metavar, self._kind, self._least, self._most = metavar, kind, least, most

    def get_metavar(self, param, ctx=None):
        return self._metavar

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        try:
            values = tuple(self._kind(part) for part in value.split(","))
        except ValueError:
            values = ()
        inside = all(self._least <= value <= self._most for value in values)     # not so for nan
        if len(values) != self._metavar.count(",") + 1 or not inside or "_" in value:
            self.fail(f"{value!r}; expected {self._metavar}, numbers from {self._least:g} to {self._most:g}, separated "
                      "by commas.", param, ctx)
        return values


class Rates(click.ParamType):
    """One number from 0 up, or three, separated by commas, as a tuple.

    >>> Rates().convert("0.1", None, None), Rates().convert("0.03,0.01,0", None, None)
    (0.1, (0.03, 0.01, 0.0))
    """

    name = "rates"

    def get_metavar(self, param, ctx=None):
        return "RATE[,RATE,RATE]"

    def convert(self, value, param, ctx):
        if not isinstance(value, str):
            return value
        parts = value.split(",")
        if len(parts) not in (1, 3):
            self.fail(f"{value!r} has {len(parts)} numbers; expected one, or three: of the classifier, of the higher "
                      "and of the lower layer groups, separated by commas.", param, ctx)
        rates = tuple(Number(min=0).convert(part.strip(), param, ctx) for part in parts)
        return rates[0] if len(rates) == 1 else rates


class Keep(click.IntRange):
    """How many checkpoints to keep as int, or the word ``best``.

    >>> Keep(min=0).convert("best", None, None), Keep(min=0).convert("3", None, None)
    ('best', 3)
    """

    def get_metavar(self, param, ctx=None):
        return "N|best"

    def convert(self, value, param, ctx):
        if value == "best":
            return value
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r}; expected a number from 0 up, or best.", param, ctx)


class Names(click.ParamType):
    """Names separated by commas, as a tuple of str.

    >>> Names().convert("bn1, stage4_unit3_bn3", None, None)
    ('bn1', 'stage4_unit3_bn3')
    """

    name = "names"

    def get_metavar(self, param, ctx=None):
        return "NAME,NAME,…"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in value.split(","))
        if not all(names):
            self.fail(f"{value!r}; expected names separated by commas.", param, ctx)
        return names


class _ImageShape(Numbers):
    def convert(self, value, param, ctx):
        values = super().convert(value, param, ctx)
        if values[0] != 3:
            self.fail(f"{value!r} has {values[0]} channels; images are read in colour: expected 3,HEIGHT,WIDTH.",
                      param, ctx)
        return values


IMAGE_SHAPE = _ImageShape("3,HEIGHT,WIDTH", int, least=1, most=10_000)
RGB_MEAN = Numbers("RED,GREEN,BLUE")
RGB_STD = Numbers("RED,GREEN,BLUE", least=1e-3)


class FilePath(click.Path):
    """A path that the system can hold and a message can show: UTF-8, without NUL."""

    def convert(self, value, param, ctx):
        try:
            text = str(value)
            text.encode()
        except UnicodeEncodeError:
            self.fail(f"{text!r} is not UTF-8; rename the file or folder.", param, ctx)
        if not text or "\0" in text:
            self.fail(f"{text!r} is empty or holds a NUL character; expected a path.", param, ctx)
        return super().convert(value, param, ctx)


PATH, FILE, FOLDER = FilePath(), FilePath(dir_okay=False), FilePath(file_okay=False)
NUM_THREADS = click.IntRange(1, 1000)


class WholeNumbers(click.ParamType):
    """As many whole numbers as one likes, separated by commas, as a tuple.

    Parameters
    ----------
    what : str
        What they number, for messages, such as ``epochs``.
    example : str

    >>> WholeNumbers("epochs", "10,16").convert("6,8,10", None, None)
    (6, 8, 10)
    """

    name = "whole numbers"

    def __init__(self, what, example):
        self._what, self._example = what, example

    def get_metavar(self, param, ctx=None):
        return "N,…"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(re.fullmatch("[0-9]{1,9}", part) for part in parts):
            self.fail(f"{value!r}; expected {self._what} separated by commas, such as {self._example}.", param, ctx)
        return tuple(map(int, parts))


class Pairs(click.ParamType):
    """Names with a number each, separated by commas, as a tuple of pairs; whole numbers are int.

    >>> Pairs().convert("hidden=512,reversal=0.2", None, None)
    (('hidden', 512), ('reversal', 0.2))
    """

    name = "pairs"

    def get_metavar(self, param, ctx=None):
        return "NAME=NUMBER,…"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        pairs = [re.fullmatch(r"\s*([A-Za-z]\w*)=([-+0-9.e]+)\s*", part, re.ASCII) for part in value.split(",")]
        try:
            found = tuple((pair[1], _number(pair[2])) for pair in pairs)
        except (TypeError, ValueError):
            self.fail(f"{value!r}; expected names with a number each, such as hidden=512,reversal=0.2.", param, ctx)
        if len(dict(found)) < len(found):
            self.fail(f"{value!r} names one twice; expected each once.", param, ctx)
        return found


def _number(text):
    try:
        return int(text)
    except ValueError:
        return float(text)


class Resize(click.ParamType):
    """A length in pixels as int, or the word ``squeeze``.

    >>> Resize().convert("256", None, None), Resize().convert("squeeze", None, None)
    (256, 'squeeze')
    """

    name = "resize"

    def get_metavar(self, param, ctx=None):
        return "SIDE|squeeze"

    def convert(self, value, param, ctx):
        if value == "squeeze" or isinstance(value, int):
            return value
        if not re.fullmatch("[0-9]{1,5}", value, re.ASCII) or not 1 <= int(value) <= 10_000:
            self.fail(f"{value!r}; expected a number of pixels from 1 to 10000, or squeeze.", param, ctx)
        return int(value)


SPLIT = Numbers("TRAINING,VALIDATION,TEST", int, most=100)
NAMES, PAIRS, RATES, KEEP, RESIZE = Names(), Pairs(), Rates(), Keep(min=0), Resize()
EPOCHS = WholeNumbers("epochs", "10,16")
GPUS = WholeNumbers("numbers of GPUs", "0,2,5")
