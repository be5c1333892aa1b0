"""Train the network that says where a live frame may differ from its prediction, and write its weights.

    python training/train.py --output core/inr_core/solvers/change_network.npz

Streams of random scenes are reconstructed twice: in the first round the rule of ``motion_prior.py`` says where changes
are, in the second mostly the network that the first has trained, so that it learns from images such as it makes. Twenty
minutes on two cores.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from examples import Examples, examples
from torch import Tensor

from inr_core.solvers.change_network import ChangeNetwork, read_network, write_network

_BATCH = 8
_RATE = 2e-3
_WARM_STEPS = 100
_VALIDATION = 20  # one scene in so many is never trained on
_EVERY = 3  # frame of these is looked at
_TINY = 1e-6
_FIRST_LOGARITHM = -6.0  # of a variance, before anything is learnt
_ROUNDS = 2


def main() -> None:
    """Both rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("core/inr_core/solvers/change_network.npz"))
    parser.add_argument("--scenes", type=int, default=500, help="in each round")
    parser.add_argument("--minutes", type=float, default=6.0, help="of training in each round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, help="weights to go on from; else random ones, and the rule")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    network, known, weights = new_network(arguments.start), list[Examples](), arguments.start
    for turn in range(_ROUNDS):
        first = (arguments.seed * _ROUNDS + turn) * 1_000_000
        seeds = range(first, first + arguments.scenes)
        begin = time.monotonic()
        known.append(examples(seeds, weights, os.cpu_count() or 1))
        print(f"round {turn}: {len(known[-1].maps)} frames in {time.monotonic() - begin:.0f} s", flush=True)
        gathered = Examples(*(np.concatenate(part) for part in zip(*known, strict=True)))
        train(network, gathered, 60 * arguments.minutes, np.random.default_rng(arguments.seed))
        write_network(arguments.output, network)
        weights = arguments.output


def new_network(start: Path | None = None) -> ChangeNetwork:
    """The weights of a file; else random ones, and the same answer everywhere."""
    if start is not None:
        return read_network(start).requires_grad_(True).train()
    network = ChangeNetwork()
    torch.nn.init.zeros_(network.end.weight)
    torch.nn.init.constant_(network.end.bias, _FIRST_LOGARITHM)
    return network


def loss(logarithm: Tensor, change: Tensor) -> Tensor:
    """The negative logarithm of a Gaussian's likelihood, but for constants; arguments (n, ny, nx)."""
    return (logarithm + (change.square() + _TINY) * torch.exp(-logarithm)).mean()


def train(network: ChangeNetwork, known: Examples, seconds: float, rng: np.random.Generator) -> float:
    """Adam for so long, with the rate falling along a cosine: the loss on scenes that it was not trained on."""
    apart = known.seeds % _VALIDATION == 0
    used, held = np.nonzero(~apart)[0], np.nonzero(apart)[0]
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-3, betas=(0.9, 0.99))
    begin = said = time.monotonic()
    steps, spent = 0, 0.0
    while spent < seconds:
        rate = _RATE * min(1.0, (steps + 1) / _WARM_STEPS) * (0.01 + 0.5 * (1 + math.cos(math.pi * spent / seconds)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        chosen = np.sort(rng.choice(used, min(_BATCH, len(used)), replace=False))
        maps, change = _turned(*_tensors(known, chosen), rng)
        value = loss(network(maps), change)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        steps, now = steps + 1, time.monotonic()
        spent = now - begin
        if now - said > 60:
            said = now
            print(f"  {steps} steps: {_validate(network, known, held):.3f}", flush=True)
    value_held = _validate(network, known, held)
    print(f"  {steps} steps: {value_held:.3f}", flush=True)
    return value_held


def _tensors(known: Examples, chosen: np.ndarray) -> tuple[Tensor, Tensor]:
    maps, change = (torch.from_numpy(part[chosen].astype(np.float32)) for part in (known.maps, known.changes))
    return maps, change


def _turned(maps: Tensor, change: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """By a multiple of 90 degrees, and perhaps mirrored."""
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    maps, change = (torch.rot90(part, turns, (-2, -1)) for part in (maps, change))
    return (maps.flip(-1), change.flip(-1)) if mirrored else (maps, change)


@torch.no_grad()
def _validate(network: ChangeNetwork, known: Examples, held: np.ndarray) -> float:
    some = [_tensors(known, held[i : i + 1]) for i in range(0, len(held), _EVERY)]
    values = [float(loss(network(maps), change)) for maps, change in some]
    return float(np.mean(values)) if values else math.nan


if __name__ == "__main__":
    main()
