"""Groups of duplicates: one object to keep, and those near it."""

import heapq
from collections.abc import Iterable, Sequence


def group(links: Iterable[tuple[int, int]], names: Sequence[str]) -> list[tuple[int, list[int]]]:
    """Choose objects to keep so that each other object of a group is linked with the kept one itself.

    The connected components of near pairs can be chains: A near B, B near C, A far from C. To keep A alone would then
    lose C. So the object with the most links is kept, with those linked to it, and what is left is grouped again; an
    object that is left alone is in no group, for nothing that is kept is near it.

    Args:
        links: Pairs of different objects, by number.
        names: Of the objects; they decide between equal numbers of links, and the order.

    Returns:
        The kept object and the others of each group, largest groups first.
    """
    near: dict[int, set[int]] = {}
    for a, b in links:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    waiting = [(-len(others), names[item], item) for item, others in near.items()]
    heapq.heapify(waiting)
    groups = list[tuple[int, list[int]]]()
    while waiting:
        count, name, item = heapq.heappop(waiting)
        if item not in near or not near[item]:
            continue
        if -count != len(near[item]):  # some of its links are gone
            heapq.heappush(waiting, (-len(near[item]), name, item))
            continue
        members = sorted(near[item], key=lambda other: (names[other], other))
        groups.append((item, members))
        for taken in (item, *members):
            for other in near.pop(taken):
                if other in near:
                    near[other].discard(taken)
    return groups
