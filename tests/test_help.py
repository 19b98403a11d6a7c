"""Help that fits a person: examples that work come first, flags stand in sections, lines fit the terminal."""
import importlib
import shlex
import subprocess
import sys
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command
from transfer_gluon.cli.help import HelpfulCommand

import click
import pytest
from conftest import ROOT
from test_flags import COMMANDS

WIDTHS = 80, 120


def commands():
    """Every command of ours, the commands of groups included, by what is typed."""
    for name in COMMANDS:
        module = importlib.import_module(name)
        command = getattr(module, "commands", None) or module.main
        path = f"{'tools/' if '.tools.' in name else ''}{name.rpartition('.')[2]}.py"
        yield path, command
        for word, one in getattr(command, "commands", {}).items():
            yield f"{path} {word}", one


ALL = dict(commands())


def help_of(name, monkeypatch, columns=80):
    script, *words = name.split()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "argv", [script, *words, "--help"])
    root = click.Context(ALL[script], info_name=Path(script).name, **CONTEXT)
    return ALL[name].get_help(click.Context(ALL[name], root, words[0], **CONTEXT) if words else root)


def test_there_are_no_other_commands():
    scripts = {f"{folder}{path.name}" for folder in ("", "tools/") for path in (ROOT / folder).glob("*.py")
               if path.name != "__init__.py"}
    assert {name for name in ALL if " " not in name} == scripts


@pytest.mark.parametrize("name", ALL)
def test_examples_come_before_flags_and_lines_fit(name, monkeypatch):
    for columns in WIDTHS:
        said = help_of(name, monkeypatch, columns)
        assert said.index("\nExamples:\n") < said.index("\nOptions:\n"), said
        assert max(map(len, said.splitlines())) <= columns
        assert f"\n    python {name}" in said       # as it is typed, and can be copied
        for clumsy in ("RANGE", "DIRECTORY", "x>=", "<=x"):
            assert clumsy not in said, said
    assert len(help_of(name, monkeypatch, 120).splitlines()) <= len(help_of(name, monkeypatch, 80).splitlines())


@pytest.mark.parametrize("name", ALL)
def test_examples_are_understood(name, tmp_path, monkeypatch):
    """All flags are there, take such values, and none that is needed is missing."""
    monkeypatch.chdir(tmp_path)
    for folder in "photos/web", "photos/street", "256_ObjectCategories", "office31", "/mnt":
        Path(folder).mkdir(parents=True, exist_ok=True)
    assert ALL[name].examples
    for what, words in ALL[name].examples:
        assert what[0].isupper() and what[-1] not in ".:"
        command, words = ALL[name], shlex.split(words)
        if isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        command.make_context(name, words, **CONTEXT)


@pytest.mark.parametrize("name", ALL)
def test_a_shell_reads_an_example_as_it_is_meant(name, monkeypatch):
    said = help_of(name, monkeypatch)
    shown = said[said.index("Examples:"):].partition("\n\n")[0].replace("\\\n", "").splitlines()
    lines = [shlex.split(line) for line in shown if line.startswith("    ")]
    assert lines == [["python", *name.split(), *shlex.split(words)] for _, words in ALL[name].examples]


def test_large_commands_have_sections(monkeypatch):
    for name, command in ALL.items():
        if len(command.params) > 8:
            said = help_of(name, monkeypatch)
            titles = [line for line in said.splitlines() if line.endswith(":") and not line.startswith(" ")]
            assert len(titles) >= 4, name       # examples, options, and what else there is


def test_what_a_section_names_is_a_flag():
    for name, command in ALL.items():
        named = [one for names in getattr(command, "sections", {}).values() for one in names]
        unknown = set(named) - {parameter.name for parameter in command.params}
        assert not unknown - {"null_label"}, name


def test_an_installed_command_is_shown_as_it_is_typed(monkeypatch):
    said = subprocess.run([sys.executable, "-m", "transfer_gluon", "im2rec-helpers", "mask", "--help"], cwd=ROOT,
                          capture_output=True, text=True).stdout
    assert "\n    python -m transfer_gluon im2rec-helpers mask data/adapt.lst" in said


def test_flags_of_no_section_come_first_unless_they_are_help_alone():
    def titles(**more):
        @click.command(cls=Command, **more)
        @click.option("--one")
        @click.option("--two")
        def main(one, two):
            """Do."""
        said = main.get_help(click.Context(main, info_name="do.py"))
        return [line[:-1] for line in said.splitlines() if line.endswith(":")]

    assert issubclass(Command, HelpfulCommand)
    assert titles(sections={"Second": ["two"]}) == ["Options", "Second"]
    assert titles(sections={"Second": ["two"], "First": ["one"]}) == ["Second", "First", "Options"]
    assert titles() == ["Options"]
