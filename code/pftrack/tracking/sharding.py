"""Which process takes which scenes."""

from __future__ import annotations

from collections.abc import Mapping


def balance(lengths: Mapping[str, int], parts: int) -> list[list[str]]:
    """Spread scenes over processes: the longest scene goes to whoever has the least so far.

    Args:
        lengths: frames of each scene.

    Returns:
        ``parts`` lists of scenes, each in the given order; some may be empty.
    """
    loads = [0] * parts
    owner: dict[str, int] = {}
    for scene in sorted(lengths, key=lambda s: -lengths[s]):
        least = loads.index(min(loads))
        owner[scene] = least
        loads[least] += lengths[scene]
    return [[s for s in lengths if owner[s] == part] for part in range(parts)]
