"""What the project says while it works."""
import logging
import sys

log = logging.getLogger("transfer-gluon")


def log_to_stderr():
    """Send the project's log lines to standard error, with the time of day."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO, stream=sys.stderr)
