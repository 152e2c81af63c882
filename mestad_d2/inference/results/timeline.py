"""Time spans of every actor's actions, and a timeline picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mestad_d2.formats.files import atomic_path
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.results.drawing import short_name, track_color
from mestad_d2.inference.results.outputs import with_names
from mestad_d2.people import People

# More people or actions than this make the picture unreadable.
MAX_ACTORS, MAX_ACTIONS = 12, 6
INK, QUIET = "#1f2430", "#8a90a0"


@dataclass
class Actor:
    """One track: ``seen`` as (start, end) in s, and for each action (start, end, score), surest first."""

    track_id: int
    seen: list[tuple[float, float]] = field(default_factory=list)
    actions: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)

    def seconds(self) -> float:
        """Return how long the actor is seen, in s."""
        return sum(end - start for start, end in self.seen)


def actors_of(detections: Sequence[People], names: ActionNames, threshold: float, end: float) -> list[Actor]:
    """Return the actors in order of appearance; a key frame stands for the time until the next.

    Args:
        detections: in order of time.
        names: of the actions.
        threshold: least score of an action that counts.
        end: of the video, in s.
    """
    actors: dict[int, Actor] = {}
    untils = [found.timestamp for found in detections[1:]]
    untils += [max(end, found.timestamp) for found in detections[-1:]]
    for found, until in zip(detections, untils, strict=True):
        for person in with_names(found, names, threshold):
            actor = actors.setdefault(person.track_id, Actor(person.track_id))
            actor.seen.append((found.timestamp, until))
            for name, score in person.actions:
                actor.actions.setdefault(name, []).append((found.timestamp, until, score))
    for actor in actors.values():
        # Sorted by the sum of duration times score.
        weight = {name: sum((b - a) * s for a, b, s in spans) for name, spans in actor.actions.items()}
        actor.actions = {name: actor.actions[name] for name in sorted(weight, key=weight.get, reverse=True)}
    return sorted(actors.values(), key=lambda actor: (actor.seen[0][0], actor.track_id))


def write_timeline(path: Path, actors: Sequence[Actor], end: float) -> None:
    """Write a png: rows in the actor's colour, one row per action, darker where the score is higher."""
    shown = sorted(sorted(actors, key=Actor.seconds, reverse=True)[:MAX_ACTORS], key=actors.index)
    rows = sum(1 + min(len(actor.actions), MAX_ACTIONS) for actor in shown) or 1
    figure = Figure(figsize=(11, 0.8 + 0.27 * rows), dpi=120, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    row, ticks = 0, []
    for actor in shown:
        color = [c / 255 for c in track_color(actor.track_id)]
        axes.broken_barh(_widths(actor.seen), (row + 0.34, 0.32), facecolors=color, linewidth=0)
        ticks.append((row + 0.5, f"#{actor.track_id} person", "bold"))
        row += 1
        for name, spans in list(actor.actions.items())[:MAX_ACTIONS]:
            shades = [(*color, 0.2 + 0.7 * min(score, 1.0)) for _, _, score in spans]
            axes.broken_barh(
                _widths([span[:2] for span in spans]), (row + 0.1, 0.8), facecolors=shades, linewidth=0
            )
            ticks.append((row + 0.5, short_name(name), "normal"))
            row += 1
        axes.axhline(row, color="#e3e6ec", linewidth=1, zorder=0)
    _dress(axes, ticks, max(end, 1e-3), rows, len(actors) - len(shown))
    with atomic_path(path, keep_suffix=True) as aside:
        figure.savefig(aside, bbox_inches="tight", pad_inches=0.15)


def _dress(axes, ticks: list[tuple[float, str, str]], end: float, rows: int, left_out: int) -> None:
    axes.set_xlim(0, end)
    axes.set_ylim(rows, 0)
    axes.tick_params(length=0, colors=QUIET)
    # Names come from users: a $ must not start a formula.
    axes.set_yticks([y for y, _, _ in ticks], [text for _, text, _ in ticks], parse_math=False, fontsize=10)
    for label, (_, _, weight) in zip(axes.get_yticklabels(), ticks, strict=True):
        label.set(fontweight=weight, color=INK)
    axes.grid(axis="x", color="#eef0f4")
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    more = f"   (+{left_out} more people)" if left_out else ""
    axes.set_xlabel(f"seconds{more}", color=QUIET)
    if not ticks:
        axes.text(0.5, 0.5, "nobody above the thresholds", transform=axes.transAxes, ha="center", color=QUIET)


def _widths(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(start, end - start) for start, end in spans]
