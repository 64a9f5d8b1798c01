"""An order of all cells in which every beginning is balanced: after any number of cells, the values of each axis have been
used equally often, give or take one. So a sample of N cells covers every axis evenly, and a larger sample keeps the smaller.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from math import lcm, prod


def spread(sizes: Sequence[int], seed: int) -> Iterator[tuple[int, ...]]:
    """Every index tuple of the product of `sizes`, each once, in a balanced order that `seed` decides.

    Why it holds, adding one axis of k values to an order of M tuples: in each block of lcm(M, k) steps the tuple is n mod M and
    the value n mod k, moved on by one from block to block, which meets every pair once (Chinese remainders), and any run of k
    steps takes k different values. Where k divides M the value may besides be permuted freely within each aligned run of k
    tuples, the same on every pass; without that, axes of equal size would walk in step.
    """
    if len(sizes) == 1:
        order = list(range(sizes[0]))
        random.Random(f"{seed}/0").shuffle(order)
        yield from ((value,) for value in order)
        return
    *rest, k = sizes
    m = prod(rest)
    period = lcm(m, k)
    head = list(spread(rest, seed))
    rng = random.Random(f"{seed}/{len(rest)}")
    relabel = rng.sample(range(k), k)
    runs = [rng.sample(range(k), k) for _ in range(m // k)] if m % k == 0 else None
    for n in range(m * k):
        place, lap = n % m, n // period
        value = (runs[place // k][place % k] if runs else n) + lap
        yield (*head[place], relabel[value % k])
