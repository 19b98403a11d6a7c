"""The table of ways that took turns."""
import numpy as np


def table(speeds, unit, against):
    """A Markdown table of speeds: median, least and most, ratio to the first way, and to the fastest peer.

    Parameters
    ----------
    speeds : dict of str to list of float
        By ways.
    unit : str
    against : dict of str to str
        From a way to what the names of the peers that it is compared with begin with.
    """
    medians = {name: float(np.median(values)) for name, values in speeds.items()}
    first = next(iter(medians))
    lines = [f"| way | {unit} | least–most | × {first} | × fastest peer |", "| --- | --- | --- | --- | --- |"]
    for name, values in speeds.items():
        peers = [value for peer, value in medians.items() if name in against and peer.startswith(against[name])]
        ratio = f"{medians[name] / max(peers):.2f}" if peers else ""
        lines.append(f"| {name} | {medians[name]:.2f} | {min(values):.2f}–{max(values):.2f} | "
                     f"{medians[name] / medians[first]:.2f} | {ratio} |")
    return "\n".join(lines)
