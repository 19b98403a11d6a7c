"""The transfer losses by name. Nothing is imported before one is made."""
import inspect

from transfer_gluon.base.named import look_up

# A class may stand here itself, too: ``TRANSFER_LOSSES["mine"] = MyLoss``.
TRANSFER_LOSSES = {
    "mmd": "transfer_gluon.symbols.mmd:MMDLoss",
    "jmmd": "transfer_gluon.symbols.mmd:JMMDLoss",
    "coral": "transfer_gluon.symbols.coral:CORALLoss",
    "dann": "transfer_gluon.symbols.dann:DANNLoss",
    "cdan": "transfer_gluon.symbols.cdan:CDANLoss",
    "mcc": "transfer_gluon.symbols.mcc:MCCLoss",
    "bnm": "transfer_gluon.symbols.bnm:BNMLoss",
    "shot_im": "transfer_gluon.symbols.shot:SHOTIMLoss",
    "shot": "transfer_gluon.symbols.shot:SHOTLoss",
}


def transfer_loss(name, **options):
    """Make the loss that `TRANSFER_LOSSES` has under a name; `options` are its own parameters.

    Raises: InputError for a name that is not there.

    >>> type(transfer_loss("mmd", estimate="quadratic")).__name__
    'MMDLoss'
    """
    return loss_class(name)(**options)


def options_of(name):
    """The names of the parameters that the loss of a name has.

    >>> options_of("dann"), options_of("coral")
    (['hidden', 'reversal'], [])
    """
    named = inspect.signature(loss_class(name).__init__).parameters.values()
    return [one.name for one in named if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
            and one.name not in ("self", "prefix", "params")]


def loss_class(name):
    """The class of a name: its attributes tell how it is trained.

    Raises: InputError for a name that is not there.
    """
    return look_up(TRANSFER_LOSSES, name, "transfer")
