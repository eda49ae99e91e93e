"""The divergence of a flow on a graph: what every edge carries leaves one node and enters another."""

from __future__ import annotations

import numpy as np

NODES, EDGES = 50000, 250000


def divergence(edges: Annotated[i32[EDGES, 2], Index(NODES)], potential: f64[NODES], conductance: f64[EDGES]):
    flux = conductance * (potential[edges[:, 0]] - potential[edges[:, 1]])
    net = np.zeros(NODES)
    np.add.at(net, edges[:, 1], flux)
    np.subtract.at(net, edges[:, 0], flux)
    return net
