"""Transferability from the source model's own predictions on the target's train images: LEEP and NCE.

Both ask how much the source classes that a model sees in an image say about the image's target class. They take
arrays and give one number, the higher the better; natural logarithms, in double precision.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput
from featune.engine.metrics import Array

SUM_TOLERANCE = 1e-3  # of a row of probabilities: what half precision leaves of a sum of one


def leep(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Log expected empirical prediction, at most 0; 0 where source classes tell the target class without doubt.

    probabilities: of the source classes [n, source classes], rows that add up to one; labels: target classes [n].
    The empirical P(target class | source class) is read from the same images, and the score is the mean log of the
    probability that it gives, weighted by the source probabilities, to each image's own class. Never below the
    negative entropy of the labels by more than rounding. Source: Nguyen et al. 2020.
    """
    theta, truth = source_probabilities(probabilities), class_indices(labels)
    _same_length(theta, truth)
    joint = np.zeros((theta.shape[1], truth.max() + 1))
    np.add.at(joint.T, truth, theta)  # sum over images of each target class
    mass = joint.sum(axis=1, keepdims=True)
    conditional = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    expected = np.einsum("nz,zn->n", theta, conditional[:, truth])
    return float(np.log(expected).mean())


def nce(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Negative conditional entropy -H(target class | source class), from -log(target classes) to 0.

    probabilities: [n, source classes]; the likeliest source class of each image is what is conditioned on, as
    there are no source labels of target images. labels: [n]. Source: Tran et al. 2019.
    """
    theta, truth = source_probabilities(probabilities), class_indices(labels)
    _same_length(theta, truth)
    joint = np.zeros((theta.shape[1], truth.max() + 1))
    np.add.at(joint, (theta.argmax(axis=1), truth), 1 / len(truth))
    share = np.divide(joint, joint.sum(axis=1, keepdims=True), out=np.ones_like(joint), where=joint > 0)
    return float((joint * np.log(share)).sum())


# --- What comes in


def source_probabilities(values: npt.ArrayLike) -> Array:
    """The values as float64 [n, source classes]; BadInput where they are no probabilities (logits, say)."""
    theta = np.asarray(values, dtype=np.float64)
    if theta.ndim != 2 or theta.shape[0] < 1 or theta.shape[1] < 1:
        raise BadInput(f"probabilities: [n, source classes] expected, {theta.shape} found; labels come second")
    if not np.isfinite(theta).all() or (theta < 0).any() or (abs(theta.sum(axis=1) - 1) > SUM_TOLERANCE).any():
        raise BadInput("probabilities: rows of numbers from 0 to 1 that add up to 1 expected; take a softmax of logits")
    return theta


def class_indices(labels: npt.ArrayLike) -> npt.NDArray[Any]:
    """The labels as indices [n] of the classes that occur, two or more; BadInput for several labels per image."""
    truth = np.asarray(labels)
    if truth.ndim != 1 or truth.dtype.kind not in "iu":
        raise BadInput(f"labels: one whole number per image [n] expected, {truth.dtype} {truth.shape} found")
    found, indices = np.unique(truth, return_inverse=True)
    if len(found) < 2:
        raise BadInput(f"labels: two classes or more expected, {len(found)} found")
    return indices


def _same_length(theta: Array, truth: npt.NDArray[Any]) -> None:
    if len(theta) != len(truth):
        raise BadInput(f"{len(theta)} rows and {len(truth)} labels found; expected as many of each")
