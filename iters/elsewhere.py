"""Images that are missing because the command runs in another folder than the list was made for."""
import os
from pathlib import Path


def elsewhere(path, files):
    """A sentence that says from which folder the paths of a list lead to its images, beginning with a blank; empty
    where they are there, or nowhere.

    Parameters
    ----------
    path : str or Path
        The list. Its folder, and those above, are looked at.
    files : sequence of str
        Image paths as they stand in it.

    >>> elsewhere("/tmp/no.lst", ["/tmp/photos/gone.jpg"])
    ''
    """
    missing = next((file for file in files if not os.path.isabs(file) and not os.path.lexists(file)), None)
    if missing is None:
        return ""
    here = Path(path).resolve()
    folder = next((folder for folder in here.parents if (folder / missing).is_file()), None)
    if folder is None:
        return ""
    return (f" Paths in {path} count from the folder that the command runs in, which is {os.getcwd()}; {missing} lies "
            f"in {folder}: run it there.")
