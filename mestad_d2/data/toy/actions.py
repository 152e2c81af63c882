"""The toy dataset's twelve actions in AVA's three groups, and their label map."""

from __future__ import annotations

# (id, name, group); groups are AVA's label types
TOY_ACTIONS: list[tuple[int, str, str]] = [
    (1, "stand", "PERSON_MOVEMENT"),
    (2, "sit", "PERSON_MOVEMENT"),
    (3, "walk left", "PERSON_MOVEMENT"),
    (4, "walk right", "PERSON_MOVEMENT"),
    (5, "rise", "PERSON_MOVEMENT"),
    (6, "crouch", "PERSON_MOVEMENT"),
    (7, "hold (an object)", "OBJECT_MANIPULATION"),
    (8, "shake (an object)", "OBJECT_MANIPULATION"),
    (9, "push (an object)", "OBJECT_MANIPULATION"),
    (10, "pull (an object)", "OBJECT_MANIPULATION"),
    (11, "wave (to a person)", "PERSON_INTERACTION"),
    (12, "raise arm (to a person)", "PERSON_INTERACTION"),
]
STAND, SIT, WALK_LEFT, WALK_RIGHT, RISE, CROUCH, HOLD, SHAKE, PUSH, PULL, WAVE, RAISE = range(1, 13)

# Sets of actions that are drawn from one and the same distribution of single-frame poses.
TOY_AMBIGUOUS: list[tuple[int, ...]] = [
    (STAND, WALK_LEFT, WALK_RIGHT),
    (RISE, CROUCH),
    (HOLD, SHAKE, PUSH, PULL),
    (WAVE, RAISE),
]
MOTION_ONLY: tuple[int, ...] = (WALK_LEFT, WALK_RIGHT, RISE, CROUCH, SHAKE, PUSH, PULL, WAVE, RAISE)

# A horizontal flip of the picture turns one into the other.
TOY_FLIP_PAIRS: list[tuple[int, int]] = [(WALK_LEFT, WALK_RIGHT)]


def label_map_text() -> str:
    """Return the label map as text, in the form of AVA's own list (name, label_id, label_type)."""
    entry = 'label {{\n  name: "{1}"\n  label_id: {0}\n  label_type: {2}\n}}\n'
    return "".join(entry.format(*action) for action in TOY_ACTIONS)
