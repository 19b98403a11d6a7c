"""Help for people: what a command is for, examples to copy, then flags by what they are about."""
import re
import shlex
import shutil
import sys
from pathlib import Path

import click

_WIDEST = 100       # columns: longer lines are hard to read
_OTHERS = "Options"


class _Wide:
    """Help as wide as the terminal, up to a limit; click's own stops at 80 columns."""

    def get_help(self, context):
        context.terminal_width = min(shutil.get_terminal_size().columns, _WIDEST)
        return super().get_help(context)

    def format_help_text(self, context, formatter):
        super().format_help_text(context, formatter)
        write_examples(self.examples, context, formatter)


class HelpfulCommand(_Wide, click.Command):
    """A command whose help gives examples before its flags, and lists these in sections.

    Parameters
    ----------
    examples : sequence of (str, str)
        What each does, and the words behind the command's name.
    sections : dict of str to sequence of str
        From titles to the names of the parameters that stand under them, in the order of the help. What no section
        names stands first, as options, unless a flag has a ``section`` of its own (`cli.options`).

    >>> @click.command("sort.py", cls=HelpfulCommand, examples=[("Sort a file", "words.txt --reverse")],
    ...                sections={"Order": ["reverse"]})
    ... @click.argument("file")
    ... @click.option("--reverse", is_flag=True, help="Last one first.")
    ... def sort(file, reverse):
    ...     '''Sort FILE.'''
    >>> print(sort.get_help(click.Context(sort, info_name="sort.py")))
    Usage: sort.py [OPTIONS] FILE
    <BLANKLINE>
      Sort FILE.
    <BLANKLINE>
    Examples:
      Sort a file:
        python sort.py words.txt --reverse
    <BLANKLINE>
    Order:
      --reverse  Last one first.
    <BLANKLINE>
    Options:
      --help  Show this message and exit.
    """

    def __init__(self, *arguments, examples=(), sections=None, **others):
        super().__init__(*arguments, **others)
        self.examples, self.sections = list(examples), sections or {}

    def format_options(self, context, formatter):
        titles = {name: title for title, names in self.sections.items() for name in names}
        found = {}
        for parameter in self.get_params(context):
            record = isinstance(parameter, click.Option) and parameter.get_help_record(context)
            if record:
                title = titles.get(parameter.name) or getattr(parameter, "section", _OTHERS)
                found.setdefault(title, []).append(_in_words(*record))
        only_help = len(found[_OTHERS]) == 1
        for title in dict.fromkeys([*([] if only_help else [_OTHERS]), *self.sections, *found]):
            with formatter.section(title):
                formatter.write_dl(found[title])


class HelpfulGroup(_Wide, click.Group):
    """A group of commands, whose help gives `examples` too."""

    def __init__(self, *arguments, examples=(), **others):
        super().__init__(*arguments, **others)
        self.examples = list(examples)


def write_examples(examples, context, formatter):
    """Write `examples`, as `HelpfulCommand` has them, to click's formatter; long ones over several lines of a shell."""
    if not examples:
        return
    formatter.write_paragraph()
    formatter.write_heading("Examples")
    with formatter.indentation():
        for what, words in examples:
            formatter.write_text(f"{what}:")
            with formatter.indentation():
                indent = " " * formatter.current_indent
                lines = _wrapped(f"{_typed(context)} {words}".strip(), formatter.width - len(indent))
                formatter.write("".join(f"{indent}{line}\n" for line in lines))


def _in_words(flags, text):
    """A flag's lines in the help, in words of ours where click's are those of its types.

    >>> _in_words("--top-k INTEGER RANGE", "How many.  [default: 5; x>=1]")
    ('--top-k N', 'How many.  [default: 5; from 1 up]')
    >>> _in_words("--fraction FLOAT RANGE", "A part.  [0<=x<1]")
    ('--fraction NUMBER', 'A part.  [from 0 to below 1]')
    >>> _in_words("--network [inception_v4|efficientnet_lite0]", "Which.  [required]")
    ('--network NAME', 'Which.  [required]  [one of inception_v4, efficientnet_lite0]')
    """
    for click_s, ours in ("INTEGER RANGE", "N"), ("FLOAT RANGE", "NUMBER"), ("DIRECTORY", "FOLDER"):
        flags = flags.replace(click_s, ours)
    many = re.search(r" \[(\S{30,})\]$", flags)       # choices that would push the text aside
    if many:
        flags, text = f"{flags[:many.start()]} NAME", f"{text}  [one of {many[1].replace('|', ', ')}]"
    begin, bracket, more = text.rpartition("  [")
    more = re.sub(r"([-+.\de]+)<=?x<=([-+.\de]+)", r"from \1 to \2", more)
    more = re.sub(r"([-+.\de]+)<=?x<([-+.\de]+)", r"from \1 to below \2", more)
    return flags, begin + bracket + re.sub(r"x>=([-+.\de]+)", r"from \1 up", more)


def _typed(context):
    """How the command is called, as one would type it again: a file by Python."""
    root, path = context.find_root().info_name or "", context.command_path
    if not root.endswith(".py"):
        return path
    called = sys.argv[0] if Path(sys.argv[0]).name == root else root
    return f"python {shlex.quote(called)}{path[len(root):]}"


def beside():
    """A function from the script of another command of ours to how one calls that, in the way that this one was
    called: by a file beside it, or as a command of the installed package."""
    called = Path(sys.argv[0])
    if called.suffix == ".py" and called.name != "__main__.py":
        return lambda script: f"{_python()} {shlex.quote(str(called.parent / script))}"
    installed = called.name if called.suffix != ".py" and _on_path(called.name) else \
        f"{_python()} -m {__name__.partition('.')[0]}"
    return lambda script: f"{installed} {Path(script).stem.replace('_', '-')}"


def _python():
    """This Python, by its short name where that leads to it."""
    return "python" if _on_path("python") else shlex.quote(sys.executable)


def _on_path(name):
    """Whether what a shell finds under a name lies beside this Python."""
    found = shutil.which(name)
    return found is not None and Path(found).parent == Path(sys.executable).parent


def _wrapped(command, width):
    """The lines of a command, which a shell puts together again; a flag stays beside its value.

    >>> _wrapped("sort words.txt --by length --output 'my list.txt'", 30)
    ['sort words.txt --by length \\\\', "    --output 'my list.txt'"]
    """
    pieces = re.findall(r"(?:--?\S+ (?=[^-\s]))?(?:'[^']*'|\"[^\"]*\"|\S)+", command)
    lines = [pieces[0]]
    for piece in pieces[1:]:
        if len(lines[-1]) + len(piece) + 3 > width:     # the blank before it, and one and a backslash behind it
            lines[-1] += " \\"
            lines.append(f"    {piece}")
        else:
            lines[-1] += f" {piece}"
    return lines
