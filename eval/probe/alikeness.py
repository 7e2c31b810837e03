"""How alike two models are: their hidden states layer by layer, and what they say of the next token."""

import numpy as np
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

BINS = 10


def linear_cka(x_PD: np.ndarray, y_PD: np.ndarray) -> float:
    """Linear centred kernel alignment of two sets of states at the same P positions (their widths may differ): 0 to 1.

    |Y'X|^2 / (|X'X| |Y'Y|) of centred states, Frobenius norms (Kornblith et al. 2019, eq. 4).
    """
    x_PD, y_PD = x_PD - x_PD.mean(0), y_PD - y_PD.mean(0)
    norms = np.linalg.norm(x_PD.T @ x_PD) * np.linalg.norm(y_PD.T @ y_PD)
    return float(np.linalg.norm(y_PD.T @ x_PD) ** 2 / norms) if norms > 0 else 0.0


def cka_table(student: list[np.ndarray], teacher: list[np.ndarray]) -> list[list[float]]:
    """Linear CKA of each layer of the student (rows) with each of the teacher."""
    return [[round(linear_cka(mine, theirs), 4) for theirs in teacher] for mine in student]


def lay_out(x_PD: np.ndarray, y_PD: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Both sets of states in one plane by t-SNE: (P, 2), (P, 2).

    As they are where they are equally wide; else the principal components of both, the first set turned onto the
    second (orthogonal Procrustes), each scaled to the same size.
    """
    if x_PD.shape[1] != y_PD.shape[1]:
        width = min(*x_PD.shape, *y_PD.shape)
        x_PD, y_PD = (PCA(width, random_state=seed).fit_transform(states) for states in (x_PD, y_PD))
        x_PD, y_PD = (states / np.linalg.norm(states) for states in (x_PD, y_PD))
        x_PD = x_PD @ orthogonal_procrustes(x_PD, y_PD)[0]
    both = np.concatenate([x_PD, y_PD]).astype(np.float32)
    plane = TSNE(perplexity=min(30, (len(both) - 1) / 3), init="pca", random_state=seed).fit_transform(both)
    return plane[: len(x_PD)], plane[len(x_PD) :]


def calibration(confidence_N: np.ndarray, right_N: np.ndarray) -> tuple[float, list[dict]]:
    """Expected calibration error, a fraction of 1, and the bins of equal width behind it (Guo et al. 2017, eq. 3)."""
    bins, error = [], 0.0
    index_N = np.minimum((confidence_N * BINS).astype(int), BINS - 1)
    for number in range(BINS):
        inside = index_N == number
        if inside.any():
            sure, right = float(confidence_N[inside].mean()), float(right_N[inside].mean())
            bins.append({"positions": int(inside.sum()), "confidence": sure, "right": right})
            error += inside.mean() * abs(sure - right)
    return float(error), bins
