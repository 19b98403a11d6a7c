"""``transfer-gluon NAME …``: every command of the project from any folder; also ``python -m transfer_gluon NAME …``."""
import importlib

from transfer_gluon.cli.exit_codes import CONTEXT, exit_codes

import click

from transfer_gluon import __version__

_COMMANDS = {   # by what each is for, in the order of a first walk through
    "im2rec-helpers": "tools.im2rec_helpers", "get-model": "tools.get_model", "import-weights": "tools.import_weights",
    "adapt": "commands.adapt", "layers": "tools.layers", "fine-tune": "commands.fine_tune", "adabn": "commands.adabn",
    "predict": "commands.predict", "evaluate": "commands.evaluate", "extract-features": "commands.extract_features",
    "train-classifier": "commands.train_classifier", "choose": "commands.choose", "report": "commands.report",
    "reproduce": "commands.reproduce",
    "export": "tools.export", "launch": "tools.launch", "digits": "tools.digits", "emoji": "tools.emoji",
    "letters": "tools.letters", "degrade": "tools.degrade", "evidence": "tools.evidence"}


class _Commands(click.Group):
    """Imports a command when it is called."""

    def list_commands(self, context):
        return list(_COMMANDS)

    def get_command(self, context, name):
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"transfer_gluon.{_COMMANDS[name]}")
        return getattr(module, "commands", None) or module.main


@click.command("transfer-gluon", cls=_Commands, context_settings=CONTEXT)
@click.version_option(__version__, "--version", message="%(version)s")
def commands():
    """Train classifiers that carry over to another domain, without its labels."""


def main():
    """What the installed ``transfer-gluon`` calls."""
    exit_codes(commands)()


if __name__ == "__main__":
    main()
