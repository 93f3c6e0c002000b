"""Catmull-Clark subdivision of a quad mesh as a sparse linear operator."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from scipy import sparse


class Subdivision(NamedTuple):
    """One refined mesh: `vertices = operator @ coarse_vertices`.

    Attributes:
        operator: (N_fine, N_coarse) sparse rows that sum to 1.
        quads: (4 Q, 4) fine quads; those of coarse quad q are rows 4 q to 4 q + 3, in the order of its corners.
    """

    operator: sparse.csr_matrix
    quads: Int[np.ndarray, "K 4"]


def _edges(quads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unique undirected edges (E, 2) and, for each quad, the edge from corner i to corner i + 1 (Q, 4)."""
    directed = np.stack((quads, np.roll(quads, -1, axis=1)), axis=-1).reshape(-1, 2)
    edges, inverse = np.unique(np.sort(directed, axis=1), axis=0, return_inverse=True)
    return edges, inverse.reshape(quads.shape)


def _incidence(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(rows.size), (rows.ravel(), columns.ravel())), shape=shape)


def subdivide(quads: Int[np.ndarray, "Q 4"], vertex_count: int, *, smooth: bool = True) -> Subdivision:
    """Split every quad into four.

    New vertices are ordered: moved old vertices, edge points, quad points. An inner vertex of valence n moves
    to (mean of quad points + 2 mean of edge midpoints + (n - 3) vertex) / n; an inner edge point is the mean of its two
    ends and two quad points; on a border the curve rule 1/8, 3/4, 1/8 and the plain midpoint hold. If not `smooth`,
    old vertices stay and edge points are midpoints, as texture coordinates need it.

    Args:
        quads: (Q, 4) vertex ids of a mesh whose edges have one or two quads.
        vertex_count: number of coarse vertices; vertices without a quad stay where they are.
        smooth: Catmull-Clark if true, bilinear if false.

    Source: Catmull and Clark 1978; the sparse formulation is original to this project.
    """
    edges, quad_edges = _edges(quads)
    quad_ids = np.repeat(np.arange(len(quads))[:, None], 4, axis=1)
    quad_mean = _incidence(quad_ids, quads, (len(quads), vertex_count)) / 4
    edge_ids = np.repeat(np.arange(len(edges))[:, None], 2, axis=1)
    edge_mean = _incidence(edge_ids, edges, (len(edges), vertex_count)) / 2
    if smooth:
        moved, edge_points = _smooth_rules(quads, vertex_count, edges, quad_edges, quad_mean, edge_mean)
    else:
        moved, edge_points = sparse.identity(vertex_count, format="csr"), edge_mean
    operator = sparse.vstack((moved, edge_points, quad_mean), format="csr")
    edge_base, quad_base = vertex_count, vertex_count + len(edges)
    centre = np.repeat((quad_base + np.arange(len(quads)))[:, None], 4, axis=1)
    following = edge_base + quad_edges
    fine = np.stack((quads, following, centre, np.roll(following, 1, axis=1)), axis=-1)
    return Subdivision(operator, fine.reshape(-1, 4))


def _smooth_rules(quads, vertex_count, edges, quad_edges, quad_mean, edge_mean):
    edge_quads = _incidence(quad_edges, np.repeat(np.arange(len(quads))[:, None], 4, 1), (len(edges), len(quads)))
    is_border = np.asarray(edge_quads.sum(axis=1)).ravel() < 2
    keep_inner = sparse.diags((~is_border).astype(float))
    edge_points = edge_mean + keep_inner @ (edge_quads @ quad_mean / 2 - edge_mean) / 2

    vertex_quads = _incidence(quads, np.repeat(np.arange(len(quads))[:, None], 4, 1), (vertex_count, len(quads)))
    vertex_edges = _incidence(edges, np.repeat(np.arange(len(edges))[:, None], 2, 1), (vertex_count, len(edges)))
    border_edges = vertex_edges @ sparse.diags(is_border.astype(float))
    border_valence = np.asarray(border_edges.sum(axis=1)).ravel()
    valence = np.asarray(vertex_edges.sum(axis=1)).ravel()
    inner = (border_valence == 0) & (valence > 0)
    curve = border_valence == 2
    inverse = np.divide(1.0, valence, out=np.zeros(vertex_count), where=valence > 0)
    identity = sparse.identity(vertex_count, format="csr")
    smooth_inner = (
        sparse.diags(inverse**2) @ (vertex_quads @ quad_mean + 2 * (vertex_edges @ edge_mean))
        + sparse.diags(1 - 3 * inverse) @ identity
    )
    smooth_curve = identity / 2 + border_edges @ edge_mean / 4
    fixed = ~(inner | curve)
    moved = (
        sparse.diags(inner.astype(float)) @ smooth_inner
        + sparse.diags(curve.astype(float)) @ smooth_curve
        + sparse.diags(fixed.astype(float)) @ identity
    )
    return moved, edge_points
