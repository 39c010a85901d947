"""Section: the differences between exported and trained model, and the clouds they were measured on."""

import shlex
from pathlib import Path

from markupsafe import Markup

from crosspoint.parity.parity import ParityResult
from crosspoint.report.html import join, render
from crosspoint.report.missing import Missing, command, data_of, model_of
from crosspoint.report.read import Found, Pieces


def parity(pieces: Pieces) -> Markup | Missing:
    """All comparisons, and the measurements of the export's own gate."""
    gate = None if pieces.manifest is None else pieces.manifest.parity
    if not pieces.of(ParityResult) and gate is None:
        bundle = "BUNDLE" if pieces.bundle is None else shlex.quote(str(pieces.bundle))
        words = ("parity", model_of(pieces), bundle, "--data", data_of(pieces), "--json", Path("results/parity.json"))
        return Missing("parity of the exported model", command(pieces, *words))
    parts = [pieces.each(ParityResult, _parity), *([] if gate is None else [render("export_gate", gate=gate)])]
    return join(parts)


def _parity(found: Found[ParityResult]) -> Markup:
    result = found.values
    ties = all(row.near_ties is not None for row in result.numeric)
    gate = result.gate
    below = gate.limit / gate.measured if gate.measured and gate.passed else None
    return render("parity", result=result, gate=gate, ties=ties, below=below)
