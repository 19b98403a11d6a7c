"""Work done by threads, taken in order."""
import collections
from concurrent.futures import ThreadPoolExecutor

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.watchdog import progress


def in_order(function, pieces, threads, ahead=64):
    """``function(piece)`` of every piece, in their order, `threads` at a time.

    OpenCV and NumPy give up Python's lock while they decode, so that threads use all cores. At most `ahead` pieces are
    waiting or done and not taken yet, which bounds the memory.

    Raises: InputError for less than one thread.

    >>> list(in_order(abs, [-3, 2, -1], threads=2))
    [3, 2, 1]
    """
    if threads < 1:
        raise InputError.of("threads", threads, "a whole number from 1 up")
    pool = ThreadPoolExecutor(threads)
    try:
        waiting = collections.deque()
        for piece in pieces:
            waiting.append(pool.submit(function, piece))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
                progress()
        while waiting:
            yield waiting.popleft().result()
            progress()
    finally:
        # Not waited for: Python may collect this generator, left half-way, in a thread that others wait for.
        pool.shutdown(wait=False, cancel_futures=True)
