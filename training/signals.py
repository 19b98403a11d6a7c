"""Ending a run when a signal asks for it, at a moment of the run's choice."""
import signal


class StopSignals:
    """Within the block, the first SIGINT or SIGTERM is only noted; a second one acts as ever.

    >>> with StopSignals() as stop:
    ...     _ = signal.raise_signal(signal.SIGTERM)
    >>> stop.name
    'SIGTERM'
    """

    def __init__(self):
        self.name = None

    def __enter__(self):
        self._handlers = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.name = signal.Signals(number).name
        self.__exit__()
