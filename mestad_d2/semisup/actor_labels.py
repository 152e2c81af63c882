"""Pseudo labels by actor: people of both key frames are paired first, then the teacher's people are assigned.

In Algorithm 1 nearly every actor is listed twice among the people to choose from, once per key frame, so the
teacher's people seldom outnumber them and background columns have little effect. Here an actor is listed once, its
box is interpolated to the time of the clip, and actions that only one key frame shows start or end at an unknown time
between (``change_points.action_chances``, which ``densify`` uses too).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from torch import Tensor

from mestad_d2.people import People
from mestad_d2.semisup.actors import Actor, KeyFrame, StretchDetections, Track, assign, pair_people
from mestad_d2.semisup.assigner import TemporalLabelAssigner
from mestad_d2.semisup.change_points import action_chances, exclusive_pairs, log_odds, presence
from mestad_d2.semisup.key_frame_labels import as_ground_truth, clip_actors
from mestad_d2.semisup.labelers import PSEUDO_LABELER_REGISTRY, PseudoLabeler, pseudo_labels
from mestad_d2.semisup.thresholds import per_class_thresholds


@PSEUDO_LABELER_REGISTRY.register()
class ActorTLA(PseudoLabeler):
    """One-to-one assignment to actors instead of to the people of both key frames together.

    A person gets the labels of the key frame that the costs choose for its actor, as in Algorithm 1; people
    without an actor are background.
    """

    def __init__(self, cfg: CfgNode) -> None:
        semisup = cfg.SEMISUP
        self.assigner = TemporalLabelAssigner(semisup.COST_BCE, semisup.COST_L1, semisup.COST_GIOU)

    def label_clip(self, teacher: Instances, item: dict) -> Instances:
        left, right, actors, place = clip_actors(item)
        tracks = assign(actors, [place], [People.from_instances(teacher, item["timestamp"])], self.assigner)
        actions, weights = np.zeros((2, *teacher.pred_actions.shape))
        sides = [{id(p): n for n, p in enumerate(frame.people)} for frame in (left, right)]
        source_index, costs = np.full(len(teacher), -1), np.zeros(len(teacher))
        for actor, track in zip(actors, tracks, strict=True):
            if not track.seen[0]:
                continue
            row = track.rows[0]
            actions[row], weights[row] = self.label_actor(actor, track, left, right, item)
            by_right = int(track.sides[0] == 1)
            person = actor.right if by_right else actor.left
            source_index[row] = sides[by_right][id(person)] + (len(left.people) if by_right else 0)
            costs[row] = track.costs[0]
        like = teacher.pred_actions
        weights = torch.from_numpy(weights).to(like)
        truth = pseudo_labels(
            teacher,
            torch.from_numpy(actions).to(like),
            weights.any(dim=1),
            torch.from_numpy(source_index).to(like.device),
            torch.from_numpy(costs).to(like),
        )
        truth.gt_action_weights = weights
        return truth

    def label_actor(
        self, actor: Actor, track: Track, left: KeyFrame, right: KeyFrame, item: dict
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return targets and weights (A,) of an actor whose ``track`` the teacher sees on one frame."""
        columns = track.actions.shape[1]
        person = actor.right if track.sides[0] == 1 else actor.left
        targets = np.zeros(columns)
        targets[[action - 1 for action in person.actions]] = 1
        return targets, np.ones(columns)


class _ByChance(ActorTLA):
    """Probabilities of actions at the clip's time, from one detection of the teacher.

    A single detection can't be centred between both ends, so each class is centred on the score above which it is
    predicted as often on the training set as it is labelled (``PerClassThreshold``).
    """

    needs_fit = True
    looks = 0

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.middle: np.ndarray | None = None
        self.exclusive: frozenset[frozenset[int]] = frozenset()

    def fit_stretches(self, stretches: Sequence[StretchDetections]) -> None:
        frames = {(s.video_id, frame.time): frame for s in stretches for frame in (s.left, s.right)}
        self.exclusive = exclusive_pairs(frames.values())

    def fit(self, scores: Tensor, counts: Tensor) -> None:
        thresholds = per_class_thresholds(scores.detach().cpu().float(), counts.cpu()).clamp(0, 1)
        self.middle = log_odds(thresholds.double().numpy())

    def label_actor(
        self, actor: Actor, track: Track, left: KeyFrame, right: KeyFrame, item: dict
    ) -> tuple[np.ndarray, np.ndarray]:
        return self.from_chances(self.chances(actor, track, left, right, item), track.actions.shape[1])

    def chances(
        self, actor: Actor, track: Track, left: KeyFrame, right: KeyFrame, item: dict
    ) -> dict[int, float]:
        """Probability of every action that one of the key frames shows."""
        if actor.left is None or actor.right is None:
            return dict.fromkeys((actor.left or actor.right).actions, 1.0)
        times = np.array([item["timestamp"]])
        # A mirrored clip has mirrored scores and labels.
        flip = item.get("flip_ids", {})
        exclusive = frozenset(frozenset(flip.get(a, a) for a in pair) for pair in self.exclusive)
        middle = None if self.middle is None else self.middle.copy()
        for action, other in flip.items() if middle is not None else ():
            middle[action - 1] = self.middle[other - 1]
        found, _ = action_chances(actor, track, times, left.time, right.time, exclusive, middle)
        return {action: float(chance[0]) for action, chance in found.items()}

    def from_chances(self, chances: dict[int, float], columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets and weights (A,)."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        pairs = sorted(sorted(pair) for pair in self.exclusive)
        middle = {} if self.middle is None else {"middle": torch.from_numpy(self.middle)}
        return {"exclusive": torch.tensor(pairs).reshape(-1, 2), **middle}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.exclusive = frozenset(
            frozenset(pair) for pair in state.get("exclusive", torch.empty(0)).tolist()
        )
        if "middle" in state:
            self.middle = torch.as_tensor(state["middle"]).numpy()


@PSEUDO_LABELER_REGISTRY.register()
class SoftTLA(_ByChance):
    """Actions of one key frame have their probability at the clip's time as target."""

    def from_chances(self, chances: dict[int, float], columns: int) -> tuple[np.ndarray, np.ndarray]:
        targets = np.zeros(columns)
        for action, chance in chances.items():
            targets[action - 1] = chance
        return targets, np.ones(columns)


@PSEUDO_LABELER_REGISTRY.register()
class AgreementTLA(_ByChance):
    """Actions on which both key frames agree have weight 1, others a weight by the certainty of their probability.

    An action of probability p has target 1 above 1/2 and 0 below, with weight ``|2 p - 1|``, so an action with
    p = 1/2 does not count.
    """

    def from_chances(self, chances: dict[int, float], columns: int) -> tuple[np.ndarray, np.ndarray]:
        targets, weights = np.zeros(columns), np.ones(columns)
        for action, chance in chances.items():
            targets[action - 1], weights[action - 1] = chance >= 0.5, abs(2 * chance - 1)
        return targets, weights


@PSEUDO_LABELER_REGISTRY.register()
class TrackTLA(AgreementTLA):
    """As ``AgreementTLA``, with probabilities from several detections of the teacher along each actor's track.

    At the end of burn-in the teacher runs at ``SEMISUP.LOOKS`` times between every two key frames and at the key
    frames themselves. Their scores give each action's start or end as ``densify`` finds it.
    """

    needs_fit = False

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.looks = cfg.SEMISUP.LOOKS
        # Stretch -> times (F,), and of each actor: number on the left and the right key frame (-1: not
        # there), and action -> probabilities (F,).
        self.tracks: dict[str, dict[str, Any]] = {}

    @staticmethod
    def key(video_id: str, left: float, right: float) -> str:
        """Name of a stretch."""
        return f"{video_id},{left:.6f},{right:.6f}"

    def fit_stretches(self, stretches: Sequence[StretchDetections]) -> None:
        super().fit_stretches(stretches)
        for looks in stretches:
            actors = pair_people(looks.left, looks.right)
            places = (looks.times - looks.left.time) / (looks.right.time - looks.left.time)
            tracks = assign(actors, places.tolist(), looks.detections, self.assigner)
            left, right = (
                {id(p): n for n, p in enumerate(frame.people)} for frame in (looks.left, looks.right)
            )
            entries = []
            for actor, track in zip(actors, tracks, strict=True):
                chances, _ = action_chances(
                    actor, track, looks.times, looks.left.time, looks.right.time, self.exclusive
                )
                entries.append(
                    {
                        "left": left.get(id(actor.left), -1),
                        "right": right.get(id(actor.right), -1),
                        "chances": {action: torch.from_numpy(chance) for action, chance in chances.items()},
                    }
                )
            key = self.key(looks.video_id, looks.left.time, looks.right.time)
            self.tracks[key] = {"times": torch.from_numpy(looks.times), "actors": entries}

    def chances(
        self, actor: Actor, track: Track, left: KeyFrame, right: KeyFrame, item: dict
    ) -> dict[int, float]:
        if actor.left is None or actor.right is None:
            return dict.fromkeys((actor.left or actor.right).actions, 1.0)
        stretch = self.tracks.get(self.key(item["video_id"], left.time, right.time))
        number = next(n for n, p in enumerate(left.people) if p is actor.left)
        annotation = int(item["left_instances"].gt_indices[number])
        entry = next((e for e in stretch["actors"] if e["left"] == annotation), None) if stretch else None
        if entry is None:
            return super().chances(actor, track, left, right, item)
        times, flip = stretch["times"].numpy(), item.get("flip_ids", {})
        found = {
            flip.get(action, action): float(np.interp(item["timestamp"], times, chance.numpy()))
            for action, chance in entry["chances"].items()
        }
        # The crop may hide the actor at one end, or another person of the same id: labels stay this actor's.
        return {a: found.get(a, 1.0) for a in actor.left.actions | actor.right.actions}

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "tracks": self.tracks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.tracks = state.get("tracks", {})


@PSEUDO_LABELER_REGISTRY.register()
class DenseTLA(AgreementTLA):
    """As ``AgreementTLA``, for all people of the key frames, also those the teacher misses: ``densify``'s labels.

    An actor in view has the teacher's box, or the interpolated one where the teacher misses the actor. The
    teacher's other people are left out.
    """

    def label_clip(self, teacher: Instances, item: dict) -> Instances:
        left, right, actors, place = clip_actors(item)
        tracks = assign(actors, [place], [People.from_instances(teacher, item["timestamp"])], self.assigner)
        times = np.array([item["timestamp"]])
        between = item["left_timestamp"] is not None and item["right_timestamp"] is not None
        boxes, labels = [], []
        for actor, track in zip(actors, tracks, strict=True):
            seen = bool(track.seen[0])
            if between:
                there = presence(actor, track, times, left.time, right.time)[0] >= 0.5
            else:
                there = seen
            if there:
                boxes.append(track.boxes[0] if seen else actor.box_at(place))
                labels.append(self.label_actor(actor, track, left, right, item))
        columns = teacher.pred_actions.shape[1]
        actions, weights = (
            torch.from_numpy(np.array([label[k] for label in labels]).reshape(-1, columns)) for k in (0, 1)
        )
        boxes = np.array(boxes, dtype=np.float64)
        truth = as_ground_truth(teacher.image_size, boxes, actions, weights.any(dim=1), teacher.pred_actions)
        truth.gt_action_weights = weights.to(teacher.pred_actions)
        return truth
