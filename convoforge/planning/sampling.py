"""Orders of which every beginning is balanced: after any number of steps, the values of each axis have been used equally often,
plus or minus one. So a sample of N cells covers every axis evenly, and a larger sample contains the smaller.

Why both walks visit every tuple once: take the M tuples of the axes so far, and another axis of k values. Step n visits tuple n
mod M and value n mod k. By the Chinese remainder theorem this visits each pair with equal remainders modulo g = gcd(M, k) once in
lcm(M, k) steps. After each such lap the value moves on by one, so that g laps visit all remainders. Any k steps from a multiple
of k on take k different values.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import gcd, lcm, prod
from operator import mul


def spread(sizes: Sequence[int], seed: int) -> Iterator[tuple[int, ...]]:
    """Yield every index tuple of the product of `sizes` once, in a balanced order that `seed` decides. Lazy.

    Each run of g steps permutes the remainders modulo g, in the same way on every lap, so the above still holds. Without it, axes
    whose sizes have a common divisor would move in step, and a sample would miss most of their pairs.
    """
    rng = random.Random()
    labels = []
    for axis, k in enumerate(sizes):
        rng.seed(seed << 64 | axis)
        labels.append(rng.sample(range(k), k))
    axes = [(axis, m, k, gcd(m, k), lcm(m, k)) for axis, (m, k) in enumerate(zip(_before(sizes), sizes, strict=True))]
    shuffled: list[tuple[int, list[int]]] = [(-1, [0])] * len(axes)
    for n in range(prod(sizes)):
        values, step = [], n
        for axis, m, k, g, period in reversed(axes):
            remainder = step % g
            if g > 1:
                run = step % period // g
                if shuffled[axis][0] != run:
                    rng.seed((seed << 64 | run + 1) << 64 | axis)
                    shuffled[axis] = run, rng.sample(range(g), g)
                remainder = (shuffled[axis][1][remainder] + step // period) % g
            values.append(labels[axis][step % k // g * g + remainder])
            step %= m
        yield tuple(reversed(values))


def walk(sizes: Sequence[int], step: int) -> list[int]:
    """The index tuple at a step of the unshuffled walk, which visits each once before repeating; neighbors differ as much as
    possible."""
    values = []
    for m, k in reversed([*zip(_before(sizes), sizes, strict=True)]):
        values.append((step + step // lcm(m, k)) % k)
        step %= m
    return values[::-1]


def digest(text: str) -> int:
    """A number that only the text decides."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest())


def _before(sizes: Sequence[int]) -> list[int]:
    """For each axis, the product of the sizes before it."""
    return list(accumulate(sizes, mul, initial=1))[:-1]
