"""Fourier transforms of the columns of a block, as parts of what is compiled (see :mod:`.compiled_gram`).

All columns of a block are transformed together, so that every operation is one of whole vectors. Nothing is sorted: the
transform there leaves its frequencies in the order of their reversed digits (decimation in frequency), the one back
takes them so (decimation in time; Cooley and Tukey, doi 10.1090/S0025-5718-1965-0178586-1).

Sizes are constants of what is compiled: a compiler that does not know how far two rows are apart uses no vectors.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numba.extending import overload

from inr_core.compiling import PART_OPTIONS, Array, part
from inr_core.operators.column_blocks import W

_PRIMES = (3, 5, 7, 11, 13)
_STAGES = 6  # at most, of a transform

ROOM = 2 * _PRIMES[-1] * W
"""Numbers behind a block that a stage may write to."""


def radices(n: int) -> tuple[int, ...] | None:
    """What a transform of n points is made of, in order; None if there is no such stage, or too many are needed."""
    halvings = 0
    while n % 2 == 0:
        halvings += 1
        n //= 2
    # As few passes over a block as there can be: each is limited by what it writes.
    passes = -(-halvings // 3)
    found = [2] if halvings == 1 else [8] * (halvings - 2 * passes) + [4] * (3 * passes - halvings)
    for prime in _PRIMES:
        while n % prime == 0:
            found.append(prime)
            n //= prime
    return tuple(found) if n == 1 and 0 < len(found) <= _STAGES else None


class Tables(NamedTuple):
    """What the transforms of n points take.

    Attributes
    ----------
    order : (n,) int64
        Where each frequency lies after the transform there.
    twiddles : (2, m) float32
        Cosines and sines that each stage multiplies with, one stage after the other.
    roots : (2, k) float32
        exp(-2 pi i a b / r) of each stage's radix r, (r, r), one stage after the other.
    wave : (2 n W,) float32
        exp(-pi i j / n), in each of a block's columns: real parts, then imaginary ones.
    """

    order: Array
    twiddles: Array
    roots: Array
    wave: Array


@cache
def tables(n: int) -> Tables:
    """The tables of n points, of which there are :func:`radices`."""
    order, rest, digits = np.zeros(n, np.int64), n, np.arange(n)
    twiddles, roots = [], []
    for radix in radices(n) or ():
        rest //= radix
        order += digits % radix * rest
        digits //= radix
        twiddles.append(np.outer(np.arange(rest), np.arange(1, radix)).ravel() / (radix * rest))
        roots.append(np.outer(np.arange(radix), np.arange(radix)).ravel() / radix)
    wave = [np.repeat(np.arange(n), W) / (2 * n)]
    return Tables(order, _turns(twiddles), _turns(roots), _turns(wave).ravel())


def _turns(parts: list[Array]) -> Array:
    angle = -2 * math.pi * np.concatenate(parts)
    return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def _stage(d, re, im, t, o, roots, ro, n, q, ones, before):
    """A stage of a transform of n points, in the columns of a block: radix as many as ``ones``, rows q apart.

    Real parts are in d from re on, and imaginary ones from im on; exchanged, it is a stage of the transform back. Its
    twiddles are in t from o on, its roots from ro on; ``before`` says whether they come before the sums.
    """
    raise NotImplementedError("it is chosen by its radix when it is compiled")


@overload(_stage, jit_options=PART_OPTIONS)
def _chosen(d, re, im, t, o, roots, ro, n, q, ones, before):
    return {0: _none, 2: _by_two, 3: _by_three, 4: _by_four, 8: _by_eight}.get(len(ones), _by_sums)


def _none(d, re, im, t, o, roots, ro, n, q, ones, before):
    pass


def _by_two(d, re, im, t, o, roots, ro, n, q, ones, before):
    w = q * W
    for block in range(0, n * W, 2 * w):
        for k in range(q):
            c, s = t[0, o + k], t[1, o + k]
            for j in range(block + k * W, block + k * W + W):
                x, y = re + j, im + j
                ar, ai, br, bi = d[x], d[y], d[x + w], d[y + w]
                if before:
                    br, bi = turned(br, bi, c, s)
                d[x], d[y] = ar + br, ai + bi
                br, bi = ar - br, ai - bi
                if not before:
                    br, bi = turned(br, bi, c, s)
                d[x + w], d[y + w] = br, bi


def _by_three(d, re, im, t, o, roots, ro, n, q, ones, before):
    w, h = q * W, np.float32(math.sqrt(0.75))
    for block in range(0, n * W, 3 * w):
        for k in range(q):
            p = o + 2 * k
            c1, c2, s1, s2 = t[0, p], t[0, p + 1], t[1, p], t[1, p + 1]
            for j in range(block + k * W, block + k * W + W):
                x, y = re + j, im + j
                a, b, c = (d[x], d[y]), (d[x + w], d[y + w]), (d[x + 2 * w], d[y + 2 * w])
                if before:
                    b, c = turned(*b, c1, s1), turned(*c, c2, s2)
                e, f = _sum(b, c), (h * (b[1] - c[1]), h * (c[0] - b[0]))
                m = (a[0] - np.float32(0.5) * e[0], a[1] - np.float32(0.5) * e[1])
                a, b, c = _sum(a, e), _sum(m, f), _difference(m, f)
                if not before:
                    b, c = turned(*b, c1, s1), turned(*c, c2, s2)
                d[x], d[y] = a
                d[x + w], d[y + w] = b
                d[x + 2 * w], d[y + 2 * w] = c


def _by_four(d, re, im, t, o, roots, ro, n, q, ones, before):
    w = q * W
    for block in range(0, n * W, 4 * w):
        for k in range(q):
            p = o + 3 * k
            c1, c2, c3, s1, s2, s3 = t[0, p], t[0, p + 1], t[0, p + 2], t[1, p], t[1, p + 1], t[1, p + 2]
            for j in range(block + k * W, block + k * W + W):
                x, y = re + j, im + j
                b, c, e = (d[x + w], d[y + w]), (d[x + 2 * w], d[y + 2 * w]), (d[x + 3 * w], d[y + 3 * w])
                if before:
                    b, c, e = turned(*b, c1, s1), turned(*c, c2, s2), turned(*e, c3, s3)
                a, b, c, e = _four((d[x], d[y]), b, c, e)
                if not before:
                    b, c, e = turned(*b, c1, s1), turned(*c, c2, s2), turned(*e, c3, s3)
                d[x], d[y] = a
                d[x + w], d[y + w] = b
                d[x + 2 * w], d[y + 2 * w] = c
                d[x + 3 * w], d[y + 3 * w] = e


def _by_eight(d, re, im, t, o, roots, ro, n, q, ones, before):
    w, h = q * W, np.float32(math.sqrt(0.5))
    for block in range(0, n * W, 8 * w):
        for k in range(q):
            c, s = _seven(t, 0, o + 7 * k), _seven(t, 1, o + 7 * k)
            for j in range(block + k * W, block + k * W + W):
                x, y = re + j, im + j
                a0, a1, a2, a3 = (d[x], d[y]), _at(d, x, y, w), _at(d, x, y, 2 * w), _at(d, x, y, 3 * w)
                a4, a5, a6, a7 = _at(d, x, y, 4 * w), _at(d, x, y, 5 * w), _at(d, x, y, 6 * w), _at(d, x, y, 7 * w)
                if before:
                    a1, a2, a3, a4, a5, a6, a7 = _turn_seven((a1, a2, a3, a4, a5, a6, a7), c, s)
                e0, e1, e2, e3 = _four(a0, a2, a4, a6)
                f0, f1, f2, f3 = _four(a1, a3, a5, a7)
                f1, f2 = (h * (f1[0] + f1[1]), h * (f1[1] - f1[0])), (f2[1], -f2[0])
                f3 = (h * (f3[1] - f3[0]), -h * (f3[0] + f3[1]))
                a0, a4, a1, a5 = _sum(e0, f0), _difference(e0, f0), _sum(e1, f1), _difference(e1, f1)
                a2, a6, a3, a7 = _sum(e2, f2), _difference(e2, f2), _sum(e3, f3), _difference(e3, f3)
                if not before:
                    a1, a2, a3, a4, a5, a6, a7 = _turn_seven((a1, a2, a3, a4, a5, a6, a7), c, s)
                d[x], d[y] = a0
                d[x + w], d[y + w] = a1
                d[x + 2 * w], d[y + 2 * w] = a2
                d[x + 3 * w], d[y + 3 * w] = a3
                d[x + 4 * w], d[y + 4 * w] = a4
                d[x + 5 * w], d[y + 5 * w] = a5
                d[x + 6 * w], d[y + 6 * w] = a6
                d[x + 7 * w], d[y + 7 * w] = a7


@part
def _at(d, x, y, w):
    return d[x + w], d[y + w]


@part
def _seven(t, row, p):
    return t[row, p], t[row, p + 1], t[row, p + 2], t[row, p + 3], t[row, p + 4], t[row, p + 5], t[row, p + 6]


@part
def _turn_seven(a, c, s):
    b1, b2, b3 = turned(*a[0], c[0], s[0]), turned(*a[1], c[1], s[1]), turned(*a[2], c[2], s[2])
    b4, b5, b6, b7 = (
        turned(*a[3], c[3], s[3]),
        turned(*a[4], c[4], s[4]),
        turned(*a[5], c[5], s[5]),
        turned(*a[6], c[6], s[6]),
    )
    return b1, b2, b3, b4, b5, b6, b7


def _by_sums(d, re, im, t, o, roots, ro, n, q, ones, before):
    """Of any radix, as the sums that it is; the rows that they are of lie behind the block meanwhile."""
    r, w = len(ones), q * W
    xs = max(re, im) + n * W
    ys = xs + r * W
    for block in range(0, n * W, r * w):
        for k in range(q):
            row = block + k * W
            for m in range(r):
                c, s = np.float32(1), np.float32(0)
                if before and m > 0:
                    c, s = t[0, o + k * (r - 1) + m - 1], t[1, o + k * (r - 1) + m - 1]
                for j in range(m * w + row, m * w + row + W):
                    a, b = turned(d[re + j], d[im + j], c, s)
                    i = m * W + j - m * w - row
                    d[xs + i], d[ys + i] = a, b
            for p in range(r):
                c, s = np.float32(1), np.float32(0)
                if not before and p > 0:
                    c, s = t[0, o + k * (r - 1) + p - 1], t[1, o + k * (r - 1) + p - 1]
                for j in range(W):
                    a, b = np.float32(0), np.float32(0)
                    for m in range(r):
                        i, e = m * W + j, ro + p * r + m
                        x, y = turned(d[xs + i], d[ys + i], roots[0, e], roots[1, e])
                        a, b = a + x, b + y
                    a, b = turned(a, b, c, s)
                    i = p * w + row + j
                    d[re + i], d[im + i] = a, b


@part
def _sum(a, b):
    return a[0] + b[0], a[1] + b[1]


@part
def _difference(a, b):
    return a[0] - b[0], a[1] - b[1]


@part
def _four(a, b, c, e):
    """The transform of four numbers."""
    p, m, t, u = _sum(a, c), _difference(a, c), _sum(b, e), (b[1] - e[1], e[0] - b[0])
    return _sum(p, t), _sum(m, u), _difference(p, t), _difference(m, u)


@part
def turned(re, im, c, s):
    return re * c - im * s, re * s + im * c


class Stage(NamedTuple):
    """Constants of a stage: as many ones as its radix, how many rows lie between two, where its tables begin."""

    ones: tuple[int, ...] = ()
    q: int = 1
    twiddle: int = 0
    root: int = 0


def stages(n: int) -> tuple[Stage, ...]:
    found, rest, twiddle, root = [], n, 0, 0
    for radix in radices(n) or ():
        rest //= radix
        found.append(Stage((1,) * radix, rest, twiddle, root))
        twiddle += rest * (radix - 1)
        root += radix * radix
    return tuple(found + [Stage()] * (_STAGES - len(found)))


@part
def there(d, im, t, roots, n, stages):
    """The transform of a block's columns, n points each; its frequencies are left in the order that tables give.

    Imaginary parts are in d from ``im`` on, n W or more; behind them there is room for ``ROOM`` numbers.
    """
    a, b, c, e, f, g = stages
    _stage(d, 0, im, t, a.twiddle, roots, a.root, n, a.q, a.ones, False)
    _stage(d, 0, im, t, b.twiddle, roots, b.root, n, b.q, b.ones, False)
    _stage(d, 0, im, t, c.twiddle, roots, c.root, n, c.q, c.ones, False)
    _stage(d, 0, im, t, e.twiddle, roots, e.root, n, e.q, e.ones, False)
    _stage(d, 0, im, t, f.twiddle, roots, f.root, n, f.q, f.ones, False)
    _stage(d, 0, im, t, g.twiddle, roots, g.root, n, g.q, g.ones, False)


@part
def back(d, im, t, roots, n, stages):
    """The transform back, from that order, without a division."""
    a, b, c, e, f, g = stages
    _stage(d, im, 0, t, g.twiddle, roots, g.root, n, g.q, g.ones, True)
    _stage(d, im, 0, t, f.twiddle, roots, f.root, n, f.q, f.ones, True)
    _stage(d, im, 0, t, e.twiddle, roots, e.root, n, e.q, e.ones, True)
    _stage(d, im, 0, t, c.twiddle, roots, c.root, n, c.q, c.ones, True)
    _stage(d, im, 0, t, b.twiddle, roots, b.root, n, b.q, b.ones, True)
    _stage(d, im, 0, t, a.twiddle, roots, a.root, n, a.q, a.ones, True)
