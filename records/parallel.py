"""Work done by threads, taken in order."""
import collections
from concurrent.futures import ThreadPoolExecutor

AHEAD = 64      # pieces that are waiting or done and not taken yet, at most: what bounds the memory


def in_order(function, pieces, threads):
    """``function(piece)`` of every piece, in their order, `threads` at a time.

    OpenCV and NumPy give up Python's lock while they decode, so that threads use all cores.

    >>> list(in_order(abs, [-3, 2, -1], threads=2))
    [3, 2, 1]
    """
    pool = ThreadPoolExecutor(threads)
    try:
        waiting = collections.deque()
        for piece in pieces:
            waiting.append(pool.submit(function, piece))
            if len(waiting) >= AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
