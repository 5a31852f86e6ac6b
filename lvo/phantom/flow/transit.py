"""When contrast arrives where, and through where blood has come: what the flows of a network carry.

Contrast travels with the mean flow: a stretch takes its volume over its flow, streams that meet are averaged
by flow, and where blood stands still contrast only creeps in.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lvo.phantom.flow.network import Array, Bypass, Index, Network
from lvo.phantom.flow.pressures import Solution

Mask = npt.NDArray[np.bool_]

_STILL_ML_MIN = 1e-3
"""Flow below which nothing is carried."""
_FASTEST_MM_S = 1500.0
_BYPASS_S = (0.3, 12.0)
"""Least and greatest transit time of a bypass."""


def delays(
    network: Network, solution: Solution, feeders: dict[int, float], bypass: Bypass, mixing_mm_s: float
) -> Array:
    """Seconds until contrast reaches every flat point, (n,); infinite where it never does.

    Parameters
    ----------
    feeders : junctions where contrast enters, and when.
    mixing_mm_s : speed at which pulsation and diffusion carry contrast into blood that stands still.
    """
    edge = network.edge_of
    shut, inner = ~np.isfinite(network.resistance), edge >= 0
    speed = np.where(inner, np.abs(solution.flow)[edge], 0.0) * (1000 / 60) / np.maximum(network.area, 1e-9)
    pace = network.step / np.clip(speed, mixing_mm_s, _FASTEST_MM_S)
    clock = np.concatenate([[0.0], np.cumsum(pace)])
    tau = clock[network.last] - clock[network.first]
    away = np.concatenate([[0.0], np.cumsum(network.step)])
    still = ~shut & (tau >= (away[network.last] - away[network.first]) / mixing_mm_s * 0.999)
    tau[shut] = np.inf
    at = _arrivals(network, solution, feeders, bypass, tau)
    _creep(at, network.tail[still], network.head[still], tau[still])
    from_tail = at[network.tail][edge] + clock[:-1] - clock[network.first][edge]
    from_head = at[network.head][edge] + clock[network.last][edge] - clock[:-1]
    ahead = solution.flow[edge] >= 0
    time = np.where(ahead, from_tail, from_head)
    time = np.where(still[edge], np.minimum(from_tail, from_head), time)
    time = np.where(shut[edge], np.inf, time)
    junction = network.node >= 0
    time[junction] = at[network.node[junction]]
    return time


def _arrivals(
    network: Network, solution: Solution, feeders: dict[int, float], bypass: Bypass, tau: Array
) -> Array:
    """Arrival at the junctions, from high pressure to low; streams that meet are averaged by flow."""
    wait = np.clip(60 * bypass.volume / np.maximum(np.abs(solution.bypass), 1e-6), *_BYPASS_S)
    at = np.full(network.nodes, np.inf)
    at[list(feeders)] = list(feeders.values())
    sums, weights = [0.0] * network.nodes, [0.0] * network.nodes
    times: list[float] = at.tolist()
    for up, down, flow, seconds in _streams(network, solution, bypass, np.concatenate([tau, wait])):
        if weights[up] > 0:
            times[up], weights[up] = sums[up] / weights[up], 0.0
        if times[up] < np.inf and down not in feeders:
            sums[down] += flow * (times[up] + seconds)
            weights[down] += flow
    waiting = [s / w if w > 0 else t for s, w, t in zip(sums, weights, times, strict=True)]
    return np.array(waiting)


def _streams(
    network: Network, solution: Solution, bypass: Bypass, carried: Array
) -> list[tuple[int, int, float, float]]:
    """(upstream junction, downstream junction, ml/min, what is carried) by falling upstream pressure."""
    flow = np.concatenate([solution.flow, solution.bypass])
    tail, head = np.concatenate([network.tail, bypass.tail]), np.concatenate([network.head, bypass.head])
    up, down = np.where(flow >= 0, tail, head), np.where(flow >= 0, head, tail)
    order = np.argsort(-solution.pressure[up], kind="stable")
    order = order[np.abs(flow)[order] > _STILL_ML_MIN]
    columns = (up[order], down[order], np.abs(flow)[order], carried[order])
    return list(zip(*(c.tolist() for c in columns), strict=True))


def _creep(at: Array, tail: Index, head: Index, seconds: Array) -> None:
    """Let contrast into still blood from either end, in place."""
    while len(tail):
        before = at.copy()
        np.minimum.at(at, head, at[tail] + seconds)
        np.minimum.at(at, tail, at[head] + seconds)
        if (before == at).all():
            return


def passed(network: Network, solution: Solution, places: Mask, bypass: Bypass) -> Array:
    """Share of the blood at every flat point that has come through marked points, (n,), those included."""
    edge = network.edge_of
    counts = np.concatenate([[0], np.cumsum(places)])
    marked = counts[network.last + 1] > counts[network.first]
    sums, weights = [0.0] * network.nodes, [1e-12] * network.nodes
    carried = np.concatenate([marked.astype(float), np.zeros(len(bypass.tail))])
    for up, down, flow, through in _streams(network, solution, bypass, carried):
        sums[down] += flow * max(through, sums[up] / weights[up])
        weights[down] += flow
    at = np.array(sums) / np.array(weights)
    ahead = solution.flow >= 0
    upstream = np.where(ahead, at[network.tail], at[network.head])
    behind = np.where(
        ahead[edge], counts[1:] > counts[network.first][edge], counts[network.last + 1][edge] > counts[:-1]
    )
    share = np.where(behind, 1.0, upstream[edge])
    junction = network.node >= 0
    share[junction] = at[network.node[junction]]
    share[places] = 1.0
    return share
