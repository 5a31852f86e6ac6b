"""Pressures and flows in a network of arteries.

One linear system gives the pressures (as in Alastruey et al., J Biomech 2007;40:1794, without the waves).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu

from lvo.phantom.flow.network import Array, Bypass, Index, Network

_LEAK = 1e-9
"""ml/min/mmHg to the veins at every junction: one that is cut off has a pressure too."""
_ROUNDS = 12
"""Of the search for the tone of the beds: each leaves less than half of the error."""


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Pressures in mmHg, (nodes,), and flows from tail to head in ml/min, (edges,) and (bypasses,)."""

    pressure: Array
    flow: Array
    bypass: Array


def solve(
    network: Network,
    held: dict[int, float],
    *,
    sinks: Array | None = None,
    beds: Array | None = None,
    venous: float = 5.0,
    bypass: Bypass | None = None,
) -> Solution:
    """Pressures and flows.

    Parameters
    ----------
    held : junctions whose pressure is given, mmHg.
    sinks : (nodes,) ml/min that tissue draws whatever the pressure.
    beds : (nodes,) ml/min/mmHg from a junction through tissue to the veins at `venous` mmHg.
    """
    to_veins = np.full(network.nodes, _LEAK) + (0.0 if beds is None else beds)
    system = _System.of(network, held, to_veins, bypass)
    return system.flows(system.pressures(to_veins * venous - (0.0 if sinks is None else sinks)))


def solve_regulated(
    network: Network,
    held: dict[int, float],
    beds: Array,
    usual_drop: Array,
    dilation: float,
    *,
    venous: float = 5.0,
    bypass: Bypass | None = None,
) -> tuple[Solution, Array]:
    """Pressures and flows where beds dilate to keep their flow; and flow through beds, of normal, (nodes,).

    Parameters
    ----------
    beds : (nodes,) ml/min/mmHg at rest, as for `solve`.
    usual_drop : (nodes,) mmHg across the beds at which they are at rest.
    dilation : greatest conductance, relative to rest.

    Notes
    -----
    The matrix has the beds half dilated, and what they differ from that is put on the right side, round by
    round: that converges, as the difference is at most a third of it, and needs one factorisation.
    """
    middle = (1 + dilation) / 2
    to_veins = _LEAK + middle * beds
    system = _System.of(network, held, to_veins, bypass)
    over, tone = usual_drop, np.ones(network.nodes)
    for _ in range(_ROUNDS if dilation > 1 else 1):
        pressure = system.pressures(to_veins * venous + beds * (middle - tone) * over)
        over = pressure - venous
        tone = np.clip(usual_drop / np.maximum(over, 1e-6), 1.0, dilation)
    return system.flows(pressure), np.clip(tone * over / usual_drop, 0.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class _System:
    """The linear system of a network, factorised: (edges + bypasses,) ends and conductances."""

    tail: Index
    head: Index
    conduct: Array
    edges: int
    unknown: npt.NDArray[np.bool_]
    known: Array
    fixed: Array
    factors: SuperLU

    @classmethod
    def of(cls, network: Network, held: dict[int, float], to_veins: Array, bypass: Bypass | None) -> _System:
        more = Bypass.none() if bypass is None else bypass
        tail, head = np.concatenate([network.tail, more.tail]), np.concatenate([network.head, more.head])
        conduct = np.concatenate([1 / network.resistance, more.conductance])
        rows = np.concatenate([tail, head, tail, head, np.arange(network.nodes)])
        columns = np.concatenate([tail, head, head, tail, np.arange(network.nodes)])
        values = np.concatenate([conduct, conduct, -conduct, -conduct, to_veins])
        matrix = sparse.csc_array((values, (rows, columns)), shape=(network.nodes,) * 2)
        known = np.zeros(network.nodes)
        known[list(held)] = list(held.values())
        unknown = np.ones(network.nodes, dtype=bool)
        unknown[list(held)] = False
        factors = splu(matrix[unknown][:, unknown].tocsc(), permc_spec="MMD_AT_PLUS_A")
        return cls(tail, head, conduct, len(network.tail), unknown, known, matrix @ known, factors)

    def pressures(self, supply: Array) -> Array:
        """At every junction, (nodes,), where `supply` (nodes,) ml/min comes in."""
        pressure = self.known.copy()
        pressure[self.unknown] = self.factors.solve((supply - self.fixed)[self.unknown])
        return pressure

    def flows(self, pressure: Array) -> Solution:
        flow = self.conduct * (pressure[self.tail] - pressure[self.head])
        return Solution(pressure, flow[: self.edges], flow[self.edges :])
