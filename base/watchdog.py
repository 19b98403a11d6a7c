"""When this process last got further. A process that hangs still lives, so that others would wait for it forever.

What goes on for long calls `progress` with every piece of work; what waits for another process does so within
`waiting`. Whoever runs processes that wait for each other looks at `standing_still`; see `distributed.heartbeat`.
"""
import contextlib
import time

_since = time.monotonic()
_waiting = 0


def progress():
    """This process has got further, by a batch or an image, say."""
    global _since
    _since = time.monotonic()


@contextlib.contextmanager
def waiting():
    """Within the block this process waits for another one: it is not this one's fault that nothing goes on.

    >>> with waiting():
    ...     standing_still()
    0.0
    """
    global _waiting
    _waiting += 1
    try:
        yield
    finally:
        _waiting -= 1
        progress()


def standing_still():
    """Seconds since the last `progress`; 0 while this process waits for another one."""
    return 0.0 if _waiting else time.monotonic() - _since
