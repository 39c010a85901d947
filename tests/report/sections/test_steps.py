"""Times of the quickstart's steps as bars."""

import pytest
from report_pieces import pieces

from crosspoint.report.records import QuickstartStep, QuickstartSummary
from crosspoint.report.sections import (
    steps,
)


@pytest.mark.parametrize(("seconds", "longest"), [((3.0, 7.5, 0.5), 7.5), ((0.0, 0.02), 0.1), ((0.03,), 0.1)])
def test_times_of_steps_are_drawn_relative_to_the_longest(seconds, longest, shown):
    own = tuple(QuickstartStep(f"step {i}", each, "done") for i, each in enumerate(seconds))
    steps.steps(pieces(holds={QuickstartSummary: [("quickstart.json", QuickstartSummary(steps=own))]}))
    assert (shown[0][1].longest, shown[0][1].total) == (longest, pytest.approx(sum(seconds)))
    assert shown[0][1].steps == own
