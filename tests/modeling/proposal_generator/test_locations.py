"""Points and distances, by hand and by round trip."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mestad_d2.modeling.proposal_generator.locations import (
    boxes_to_distances,
    distances_to_boxes,
    pyramid_locations,
)

coordinate = st.floats(-500, 500, width=32)


def test_points_lie_in_the_middle_of_cells_row_by_row():
    points, levels = pyramid_locations([(2, 3), (1, 2)], [8, 16], torch.device("cpu"))
    first = [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    assert points.tolist() == first + [[8, 8], [24, 8]]
    assert levels.tolist() == [0] * 6 + [1] * 2


@settings(deadline=None, max_examples=50)
@given(st.tuples(coordinate, coordinate), st.tuples(coordinate, coordinate, coordinate, coordinate))
def test_round_trip(point, box):
    point, box = torch.tensor(point), torch.tensor(box)
    distances = boxes_to_distances(point, box)
    by_hand = (point[0] - box[0], point[1] - box[1], box[2] - point[0], box[3] - point[1])
    assert distances.tolist() == [float(value) for value in by_hand]
    torch.testing.assert_close(distances_to_boxes(point, distances), box, atol=1e-3, rtol=0)
