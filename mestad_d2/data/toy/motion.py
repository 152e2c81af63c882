"""Who does what, when and where in a toy video: timelines of actions and the motion they mean.

Every actor has three timelines that run beside each other: pose (always one action), object and person
(an action or none). A segment's motion is a function of time; classes of one ambiguous set (see
``toy_actions.TOY_AMBIGUOUS``) draw the instantaneous values from the same uniform ranges, so that only
the change over time tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mestad_d2.data.toy import actions as act

SPREAD = (0.08, 0.42)  # half distance of the feet, in leg lengths
RAISED = (75.0, 165.0)  # angle of a waving, rising or resting raised arm from straight down, degrees
CARRY = (30.0, 95.0)  # angle of an arm that carries an object
REACH = (0.35, 1.0)  # distance shoulder to hand when it carries an object, in arm lengths
IDLE = (6.0, 24.0)
BLEND = 0.2  # seconds in which a limb passes from one segment's motion into the next one's

OBJECT_NEXT = {
    0: {act.HOLD: 0.50, act.SHAKE: 0.30, act.PUSH: 0.16, act.PULL: 0.04},
    act.HOLD: {0: 0.55, act.SHAKE: 0.27, act.PUSH: 0.14, act.PULL: 0.04},
}
PERSON_NEXT = {0: {act.WAVE: 0.62, act.RAISE: 0.38}}
MEDIAN = {  # seconds
    "idle": 6.5,
    act.STAND: 4.8,
    act.SIT: 5.2,
    act.WALK_LEFT: 3.4,
    act.WALK_RIGHT: 3.4,
    act.HOLD: 5.0,
    act.SHAKE: 4.4,
    act.PUSH: 4.0,
    act.PULL: 4.0,
    act.WAVE: 4.4,
    act.RAISE: 4.8,
}


@dataclass
class Segment:
    """One action (0 = none) from ``start`` to ``end`` (seconds), with the numbers that shape its motion."""

    start: float
    end: float
    action: int
    numbers: dict[str, float]


@dataclass
class Actor:
    """An actor's size and place (pixels) and its three timelines."""

    height: float
    feet_y: float
    object_side: int  # -1: the left arm of the picture carries, the right one waves; 1: the other way
    pose: list[Segment] = field(default_factory=list)
    object: list[Segment] = field(default_factory=list)
    person: list[Segment] = field(default_factory=list)


def plan_actors(
    rng: np.random.Generator, count: int, seconds: float, width: int, height: int, pace: float = 1.0
) -> list[Actor]:
    """Draw ``count`` actors with their timelines over ``seconds`` in a picture of width x height pixels.

    Actions last ``pace`` times as long as usual.
    """
    tallest = 72.0 if count < 4 else 60.0
    actors = []
    for _ in range(count):
        actors.append(
            Actor(
                height=rng.uniform(38.0, tallest),
                feet_y=rng.uniform(0.74, 0.96) * height,
                object_side=int(rng.choice([-1, 1])),
            )
        )
    _plan_poses(rng, actors, seconds, width, pace)
    for actor in actors:
        carries = rng.random() < 0.75
        actor.object = _plan_limb(rng, seconds, OBJECT_NEXT if carries else {0: {0: 1.0}}, pace)
        actor.person = _plan_limb(rng, seconds, PERSON_NEXT, pace)
    return actors


def _duration(rng: np.random.Generator, action: int | str) -> float:
    return float(np.clip(MEDIAN[action] * np.exp(rng.normal(0.0, 0.4)), 1.2, 9.0))


def _plan_limb(
    rng: np.random.Generator, seconds: float, following: dict[int, dict[int, float]], pace: float
) -> list[Segment]:
    time, action, segments = -rng.uniform(0.0, 3.0), 0, []
    while time < seconds:
        options = following.get(
            action, {0: 0.6, act.HOLD: 0.4} if action in act.TOY_AMBIGUOUS[2] else {0: 1.0}
        )
        action = int(rng.choice(list(options), p=list(options.values())))
        end = time + pace * _duration(rng, action or "idle")
        segments.append(Segment(time, end, action, _limb_numbers(rng, action)))
        time = end
    return segments


def _limb_numbers(rng: np.random.Generator, action: int) -> dict[str, float]:
    period = {act.WAVE: (0.65, 1.1), act.RAISE: (3.2, 4.4), act.SHAKE: (0.45, 0.8)}.get(action, (1.0, 1.5))
    return {
        "angle": rng.random(),  # these three are places in the ranges of the module's head
        "reach": rng.random(),
        "idle": rng.random(),
        "rests_raised": float(rng.random() < 0.25),
        "period": rng.uniform(*period),
        "phase": rng.random(),
    }


def _plan_poses(
    rng: np.random.Generator, actors: list[Actor], seconds: float, width: int, pace: float
) -> None:
    halves = [0.30 * actor.height for actor in actors]
    slack = max(0.0, width - 2.0 * sum(halves))
    gaps = rng.dirichlet(np.ones(len(actors) + 1)) * slack
    places, edge = {}, 0.0
    for index in rng.permutation(len(actors)):
        edge += gaps[len(places)]
        places[int(index)] = edge + halves[index]
        edge += 2.0 * halves[index]
    spans = {index: (x, x) for index, x in places.items()}  # where each one is during its present segment
    times = [-rng.uniform(0.0, 3.0) for _ in actors]
    while min(times) < seconds:
        index = int(np.argmin(times))
        others = [
            (spans[i][0] - halves[i] - halves[index], spans[i][1] + halves[i] + halves[index])
            for i in range(len(actors))
            if i != index
        ]
        bounds = (min(halves[index], width / 2), max(width - halves[index], width / 2))
        segment = _next_pose(rng, actors[index], times[index], places[index], bounds, others, pace)
        actors[index].pose.append(segment)
        times[index] = segment.end
        travelled = segment.numbers["speed"] * (segment.end - segment.start)
        spans[index] = tuple(sorted((places[index], places[index] + travelled)))
        places[index] += travelled


def _next_pose(
    rng: np.random.Generator,
    actor: Actor,
    time: float,
    x: float,
    bounds: tuple[float, float],
    others: list[tuple[float, float]],
    pace: float,
) -> Segment:
    last = actor.pose[-1] if actor.pose else None
    action = last.action if last else int(rng.choice([act.STAND, act.SIT]))
    level = last.numbers["to"] if last else (1.0 if action == act.STAND else rng.uniform(0.0, 0.5))
    walks = (act.WALK_LEFT, act.WALK_RIGHT)
    speed = rng.uniform(0.45, 0.75) * actor.height
    passes = rng.random() < 0.14
    duration, target = 0.0, level
    if last:
        roll = rng.random()
        if action == act.SIT or (action == act.CROUCH and roll < 0.3):
            action, target = act.RISE, 1.0
        elif action == act.CROUCH:
            action = act.SIT
        elif roll < {act.STAND: 0.85, act.RISE: 0.45}.get(action, 0.5):
            choices = list(rng.permutation(walks))
            if action in walks:  # to go on the same way would be the same segment
                choices = [walks[1 - walks.index(action)]]
            action = act.STAND if action != act.STAND else act.CROUCH
            for choice in choices:
                room = _room(x, choice, bounds, [] if passes else others)
                wanted = pace * _duration(rng, int(choice))
                if room >= 1.2 * speed:
                    action, duration = int(choice), min(wanted, room / speed)
                    break
        elif action == act.STAND or roll > 0.84:
            action = act.CROUCH
        else:
            action = act.STAND
    if action == act.CROUCH:
        target = rng.uniform(0.0, 0.5)
    if action in (act.RISE, act.CROUCH):
        duration = pace * float(np.clip(abs(target - level) * rng.uniform(1.9, 3.0), 1.2, 2.5))
    signed = speed * {act.WALK_LEFT: -1.0, act.WALK_RIGHT: 1.0}.get(action, 0.0)
    numbers = {"x": x, "speed": signed, "from": level, "to": target, "spread": rng.random()}
    numbers |= {"period": rng.uniform(0.55, 0.85), "phase": rng.random()}
    return Segment(time, time + (duration or pace * _duration(rng, action)), action, numbers)


def _room(x: float, action: int, bounds: tuple[float, float], others: list[tuple[float, float]]) -> float:
    if action == act.WALK_RIGHT:
        return min([bounds[1]] + [low for low, high in others if high > x]) - x
    return x - max([bounds[0]] + [high for low, high in others if low < x])
