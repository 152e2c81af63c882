"""The published AVA frame-mAP protocols, as the few rules in which they differ."""

from __future__ import annotations

from dataclasses import dataclass

from mestad_d2.errors import UserError


@dataclass(frozen=True)
class Protocol:
    """Rules of one published evaluator (all others are common to both)."""

    name: str
    # Timestamps are compared with six decimals; False: whole seconds only.
    fractional: bool
    # Columns that a row of the ground truth or of the detections may have.
    gt_widths: tuple[int, ...]
    det_widths: tuple[int, ...]
    # The eighth column of the ground truth sorts its boxes (a quirk that decides ties of IoU).
    gt_scores: bool
    # An exclusion list is applied to both files.
    exclusions: bool
    # Detections on frames that the ground truth does not name are dropped; False: false positives.
    drop_unknown_frames: bool
    # Rows kept a frame, over all classes; 0: all.
    cap: int
    # Inside a frame the best score chooses first; False: the order of the file decides.
    best_first: bool
    # The mean leaves out classes without any detection, whose AP would be 0.
    detected_classes_only: bool = False
    # Ground truth of excluded frames still counts as what could have been found.
    counts_excluded: bool = False
    # Only ground truth of the label map's classes makes a frame annotated; False: any class does.
    named_by_known_classes: bool = False


PROTOCOLS = {
    # ActivityNet's evaluator since May 2020.
    "activitynet": Protocol("activitynet", True, (2, 7, 8), (2, 7, 8), True, False, True, 50, True),
    # The copy that PySlowFast ships, behind most published AVA numbers.
    "slowfast": Protocol("slowfast", False, (7, 8), (8,), False, True, False, 0, False),
    # The public release of the paper's method: slowfast's rules, the best score of a frame first.
    "release": Protocol("release", False, (7, 8), (8,), False, True, False, 0, True),
    # mmaction2's own evaluator (its main branch); it computes in single precision and counts boxes
    # without area as false positives, here in double and without them.
    "mmaction2": Protocol(
        "mmaction2", False, (7, 8), (7, 8), False, True, True, 0, True,
        detected_classes_only=True, counts_excluded=True, named_by_known_classes=True,
    ),
}  # fmt: skip


def get_protocol(name: str | Protocol) -> Protocol:
    """Return the protocol of that name.

    Raises:
        UserError: there is none.
    """
    if isinstance(name, Protocol):
        return name
    if name not in PROTOCOLS:
        raise UserError(f"no evaluation protocol {name!r}: use one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
