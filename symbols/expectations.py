"""What a graph expects of shapes that are known only when it runs.

A block that is hybridized, or is inside one that is, gets symbols, which have no shape to look at. There an operator
checks in its place: one that MXNet's shape inference refuses, under a name by which the refusal is known again.
"""
import re

from transfer_gluon.base.framework import mx

_EXPECTED = {}


def expectation(name, expected):
    """Have errors of operators whose names contain `name` raised as ValueError, with what was `expected`.

    Returns: `name`, for the operator.
    """
    _EXPECTED[name] = expected
    return name


@mx.error.register("MXNetError")
def _error(message):
    operator = re.search(r"Error in operator (\w+)", message)
    for name, expected in _EXPECTED.items():
        if operator and name in operator[1]:
            found = message.strip().splitlines()[-1].partition("Check failed: ")[2]
            return ValueError(f"{operator[1]}: {expected} MXNet says: {found}")
    return mx.MXNetError(message)
