"""The scores by name. Nothing is imported before one is made."""
from transfer_gluon.base.named import look_up

# A class may stand here itself, too: ``SCORES["mine"] = MyScore``.
SCORES = {
    "infomax": "transfer_gluon.scores.predictions:Infomax",
    "entropy": "transfer_gluon.scores.predictions:Entropy",
    "nuclear_norm": "transfer_gluon.scores.predictions:NuclearNorm",
    "class_ami": "transfer_gluon.scores.predictions:ClassAMI",
    "neighbourhood": "transfer_gluon.scores.neighbourhood:Neighbourhood",
    "dev": "transfer_gluon.scores.density_ratio:DeepEmbeddedValidation",
    "a_distance": "transfer_gluon.scores.density_ratio:ProxyADistance",
    "mixval": "transfer_gluon.scores.mixval:MixVal",
    "mmd": "transfer_gluon.scores.discrepancy:MMD",
    "jmmd": "transfer_gluon.scores.discrepancy:JMMD",
    "ensemble": "transfer_gluon.scores.ensemble:Ensemble",
    "source_accuracy": "transfer_gluon.scores.guards:SourceAccuracy",
    "class_shares": "transfer_gluon.scores.guards:ClassShares",
}


def score(name):
    """Make the score that `SCORES` has under a name.

    Raises: InputError for a name that is not there.

    >>> score("infomax").name
    'infomax'
    """
    return look_up(SCORES, name, "score")()
