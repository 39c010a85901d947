"""Errors of an exported model, and how far below the limit they are."""

import pytest
from report_pieces import pieces, some

from crosspoint.parity.parity import ParityResult
from crosspoint.report.sections import (
    parity,
)


@pytest.mark.parametrize(
    ("measured", "passed", "expected"), [(2e-5, True, 5.0), (2e-5, False, None), (0.0, True, None), (None, True, None)]
)
def test_parity_says_how_far_below_its_limit_the_error_is(measured, passed, expected, shown):
    rows = [some(near_ties=some()), some(near_ties=some())]
    result = some(schema=ParityResult.schema, numeric=rows, gate=some(limit=1e-4, measured=measured, passed=passed))
    parity.parity(pieces(holds={ParityResult: [("parity.json", result)]}))
    context = shown[0][1]
    assert context.below == (expected if expected is None else pytest.approx(expected))
    assert context.ties


def test_near_ties_have_columns_only_if_every_row_has_them(shown):
    rows = [some(near_ties=some()), some(near_ties=None)]
    result = some(schema=ParityResult.schema, numeric=rows, gate=some(limit=1e-4, measured=1e-5, passed=True))
    gate = some(candidate="engine")
    built = parity.parity(pieces(holds={ParityResult: [("parity.json", result)]}, manifest=some(parity=gate)))
    assert not shown[0][1].ties
    assert shown[1] == ("export_gate", some(gate=gate))
    assert built == "<parity><export_gate>"
    assert parity.parity(pieces(manifest=some(parity=gate))) == "<export_gate>"
