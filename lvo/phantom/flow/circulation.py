"""A patient's circulation: the arterial network solved as in health, with stenoses, and with clots.

Beds are calibrated in health, where tissue draws its normal flow. With disease they dilate to keep it, down
to about half of their resistance; beyond that, flow falls with the pressure. Contrast never comes earlier
than in health: arteries that carry more by a detour grow wider (approximate).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from lvo.phantom.flow.collaterals import Anastomoses, CollateralRanges, Supply, normal_supply, opened
from lvo.phantom.flow.network import Array, Bypass, Layout, Network, build, rebuild, with_expansion
from lvo.phantom.flow.pressures import Solution, solve, solve_regulated
from lvo.phantom.flow.transit import Mask, delays
from lvo.phantom.vessels.tree import Tree

INLET_S: dict[str, float] = {"aorta": 0.0, "subclavian": 0.2, "CCA": 0.3, "ECA": 0.9, "ICA-C": 0.8, "VA": 0.6}
"""Arrival where the tree begins, seconds from the aortic root; elsewhere and in the neck:"""
_INLET_S, _NECK_S, _NECK_LOSS_MMHG = 1.0, 1.2, 8.0
_LEAST_DROP_MMHG = 15.0
_SLOWED = 0.2
"""A column of blood upstream of a clot counts as standing if less than this share of its flow is left."""


class CirculationRanges(BaseModel):
    """Pressures and flows.

    Attributes
    ----------
    arterial_mmhg, venous_mmhg : low and high mean pressure.
    flow_scale : mean and log-normal sd of the flow to all tissue, relative to normal.
    dilation : how far beds can raise their conductance to keep their flow; 2 halves their resistance.
    mixing_mm_s : low and high speed at which contrast creeps into blood that stands still.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    arterial_mmhg: tuple[float, float] = (80.0, 115.0)
    venous_mmhg: tuple[float, float] = (3.0, 8.0)
    flow_scale: tuple[float, float] = (1.0, 0.15)
    dilation: float = 2.0
    mixing_mm_s: tuple[float, float] = (4.0, 12.0)


@dataclass(frozen=True, slots=True, eq=False)
class Circulation:
    """What a patient's arteries have in common with and without an occlusion."""

    arterial: float
    venous: float
    scale: float
    mixing: float
    dilation: float

    @classmethod
    def draw(cls, rng: np.random.Generator, ranges: CirculationRanges) -> Circulation:
        """Draw one, always with the same number of draws."""
        mean, sd = ranges.flow_scale
        return cls(
            float(rng.uniform(*ranges.arterial_mmhg)),
            float(rng.uniform(*ranges.venous_mmhg)),
            mean * float(rng.lognormal(0.0, sd)),
            float(rng.uniform(*ranges.mixing_mm_s)),
            ranges.dilation,
        )

    def held(self, tree: Tree, network: Network) -> tuple[dict[int, float], dict[int, float]]:
        """Pressure and arrival where blood enters: at the roots that nothing opens into, and in the neck."""
        opened = {b.joins for b in tree.branches if b.joins >= 0 and b.join_point == 0}
        pressure = {network.nodes - 1: self.arterial - _NECK_LOSS_MMHG}
        arrival = {network.nodes - 1: _NECK_S}
        for i, b in enumerate(tree.branches):
            if b.parent < 0 and i not in opened:
                node = int(network.node[network.offsets[i]])
                pressure[node], arrival[node] = self.arterial, INLET_S.get(b.structure, _INLET_S)
        return pressure, arrival


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """One solution of the network.

    Attributes
    ----------
    bypass : anastomoses, as far as they are open.
    delay : (n,) seconds until contrast arrives at every flat point.
    perfused : (branches,) flow to the tissue of each branch, of normal, 0 to 1.
    """

    network: Network
    solution: Solution
    bypass: Bypass
    delay: Array
    perfused: Array


@dataclass(frozen=True, slots=True, eq=False)
class Health:
    """What beds and anastomoses are made for.

    Attributes
    ----------
    supply : what tissue takes.
    delay : (n,) seconds until contrast arrives at every flat point.
    """

    network: Network
    supply: Supply
    solution: Solution
    delay: Array

    def flow_in(self, network: Network) -> Array:
        """Flow in the edges of a network with more cuts, (edges,)."""
        found: Array = self.solution.flow[self.network.edge_of[network.first]]
        return found


def solve_healthy(tree: Tree, layout: Layout, circulation: Circulation) -> Health:
    """The circulation in health: tissue draws its normal flow, anastomoses carry nothing."""
    network = build(layout)
    held, arrival = circulation.held(tree, network)
    supply = normal_supply(tree, network, circulation.scale)
    solution = solve(network, held, sinks=supply.at(network))
    time = delays(network, solution, arrival, Bypass.none(), circulation.mixing)
    return Health(network, supply, solution, time)


def at_rest(healthy: Health) -> State:
    """The state in health."""
    share = np.ones(len(healthy.network.offsets) - 1)
    return State(healthy.network, healthy.solution, Bypass.none(), healthy.delay, share)


def solve_narrowed(
    tree: Tree,
    layout: Layout,
    circulation: Circulation,
    healthy: Health,
    anastomoses: Anastomoses,
    ranges: CollateralRanges,
) -> State:
    """The state with stenoses: beds dilate, and where that does not keep the pressure, anastomoses open."""
    network = with_expansion(rebuild(healthy.network, layout), layout, healthy.solution.flow)
    solution, share = _regulated(tree, network, circulation, healthy, Bypass.none())
    drop = _usual_drop(healthy, network, circulation)
    lack = 1 - (solution.pressure - circulation.venous) / drop
    bypass = opened(anastomoses.at(network), lack, ranges)
    if len(bypass.tail):
        solution, share = _regulated(tree, network, circulation, healthy, bypass)
    return _finished(tree, network, circulation, healthy, bypass, solution, share)


def solve_blocked(
    tree: Tree,
    layout: Layout,
    lumen: Array,
    circulation: Circulation,
    healthy: Health,
    anastomoses: Anastomoses,
) -> State:
    """The state with clots: beds dilate, all anastomoses are open."""
    network = build(layout, lumen)
    network = with_expansion(network, layout, healthy.flow_in(network))
    bypass = anastomoses.at(network)
    solution, share = _regulated(tree, network, circulation, healthy, bypass)
    return _finished(tree, network, circulation, healthy, bypass, solution, share)


def _regulated(
    tree: Tree, network: Network, circulation: Circulation, healthy: Health, bypass: Bypass
) -> tuple[Solution, Array]:
    drop = _usual_drop(healthy, network, circulation)
    held, _ = circulation.held(tree, network)
    beds = healthy.supply.at(network) / drop
    return solve_regulated(
        network, held, beds, drop, circulation.dilation, venous=circulation.venous, bypass=bypass
    )


def _finished(
    tree: Tree,
    network: Network,
    circulation: Circulation,
    healthy: Health,
    bypass: Bypass,
    solution: Solution,
    share: Array,
) -> State:
    _, arrival = circulation.held(tree, network)
    time = delays(network, solution, arrival, bypass, circulation.mixing)
    perfused = healthy.supply.received(network, share)
    return State(network, solution, bypass, np.maximum(time, healthy.delay), perfused)


def _usual_drop(healthy: Health, network: Network, circulation: Circulation) -> Array:
    """Pressure across the beds in health at the junctions of a network with more cuts, (nodes,).

    Where there was no junction, it is that of the neck.
    """
    old, new = healthy.network.node, network.node
    pressure = np.full(network.nodes, healthy.solution.pressure[-1])
    both = (old >= 0) & (new >= 0)
    pressure[new[both]] = healthy.solution.pressure[old[both]]
    return np.maximum(pressure - circulation.venous, _LEAST_DROP_MMHG)


def standing(patent: State, blocked: State) -> Mask:
    """Flat points whose flow has all but ceased, (n,)."""
    was, now = (np.abs(s.solution.flow)[s.network.edge_of] for s in (patent, blocked))
    slowed: Mask = now < _SLOWED * was
    ends = patent.network.offsets[1:] - 1  # from which no stretch leads on
    slowed[ends] = slowed[ends - 1]
    return slowed


def flow_per_branch(state: State) -> Array:
    """Flow in the middle of every branch, (branches,)."""
    offsets = state.network.offsets
    middle: Array = state.solution.flow[state.network.edge_of[(offsets[:-1] + offsets[1:] - 1) // 2]]
    return middle
