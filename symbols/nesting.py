"""What a network gives, nested in lists and tuples, as one flat list and back."""


def leaves(outputs):
    """As a flat list.

    >>> leaves([1, (2, [3])])
    [1, 2, 3]
    """
    return [leaf for part in outputs for leaf in leaves(part)] if isinstance(outputs, (list, tuple)) else [outputs]


def nested(flat, like):
    """The next ones of a flat sequence, nested as `like`.

    >>> nested([1, 2, 3], ["a", ("b", ["c"])])
    [1, [2, [3]]]
    """
    rest = iter(flat)
    return _next(rest, like)


def _next(rest, like):
    return [_next(rest, part) for part in like] if isinstance(like, (list, tuple)) else next(rest)
