"""The command lines of other tools have the shapes and options of the export."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from crosspoint.cli import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.export.dry_run import equivalent_commands
from crosspoint.export.engine.builder import Options
from crosspoint.export.options import ExportOptions


def test_shapes_are_those_of_the_profile(saved, tmp_path):
    found = equivalent_commands(saved("dgcnn"), tmp_path / "out", batch="1:8:32", points="512:1024:2048")
    words = shlex.split(found.trtexec)
    assert words[0] == "trtexec"
    assert {"--minShapes=points:1x512x3", "--optShapes=points:8x1024x3", "--maxShapes=points:32x2048x3"} <= set(words)
    assert {"--stronglyTyped", "--noTF32", "--skipInference"} <= set(words)
    assert f"--onnx={tmp_path}/out/encoder.onnx" in words
    for line in (found.polygraphy, found.compare):
        words = shlex.split(line)
        for name, shape in (("min", "[1,512,3]"), ("opt", "[8,1024,3]"), ("max", "[32,2048,3]")):
            assert words[words.index(f"--trt-{name}-shapes") + 1] == f"points:{shape}"
        assert "--strongly-typed" in words
        assert "--tf32" not in words


def test_a_segmenter_has_the_shape_of_its_category_too(saved, tmp_path):
    found = equivalent_commands(saved("dgcnn_partseg"), tmp_path / "out", batch=2, points=64)
    (shapes,) = [word for word in shlex.split(found.trtexec) if word.startswith("--optShapes=")]
    points, category = shapes.removeprefix("--optShapes=").split(",")
    assert points == "points:2x64x3"
    assert category.startswith("category:2x")


def test_options_of_the_build_are_translated(saved, tmp_path):
    options = ExportOptions(build=Options(tf32=True, workspace=512, timing_cache=tmp_path / "my cache"))
    found = equivalent_commands(saved("pointnet"), tmp_path / "out", options=options)
    words = shlex.split(found.trtexec)
    assert {"--memPoolSize=workspace:512", f"--timingCacheFile={tmp_path}/my cache"} <= set(words)
    assert "--noTF32" not in words
    words = shlex.split(found.polygraphy)
    assert words[words.index("--pool-limit") + 1] == "workspace:512M"
    assert words[words.index("--load-timing-cache") + 1] == f"{tmp_path}/my cache"
    assert "--tf32" in words


def test_what_has_no_equivalent_is_refused(saved, tmp_path):
    with pytest.raises(InputError, match="not with TensorRT-RTX"):
        equivalent_commands(saved("pointnet"), tmp_path / "out", options=ExportOptions(builder="rtx"))
    with pytest.raises(InputError, match="bounds for the number of points"):
        equivalent_commands(saved("pointnet"), tmp_path / "out", points="any")


def test_the_command_writes_nothing(saved, tmp_path):
    out = tmp_path / "out"
    words = ["export", str(saved("pointnet")), "--trt", "--dry-run", "--precision", "fp16", "--out", str(out)]
    done = CliRunner().invoke(crosspoint, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert not out.exists()
    lines = [line for line in done.output.splitlines() if not line.startswith("#")]
    assert [line.split()[0] for line in lines] == ["crosspoint", "trtexec", "polygraphy", "polygraphy"]
    assert "--precision fp16" in lines[0]
    words.remove("--trt")
    with pytest.raises(InputError, match="give --trt"):
        CliRunner().invoke(crosspoint, words, catch_exceptions=False)


def test_the_page_shows_what_is_printed():
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    command, lines = re.search(
        r"\n(crosspoint export [^\n]*--dry-run)\n.*?```\n(crosspoint.*?)\n```", page, re.S
    ).groups()
    done = CliRunner().invoke(crosspoint, shlex.split(command)[1:], catch_exceptions=False)
    assert [line for line in done.output.splitlines() if not line.startswith("#")] == lines.splitlines()


def test_polygraphy_knows_every_option(saved, tmp_path):
    """Its own parser reads the lines; TensorRT is not needed for that."""
    pytest.importorskip("polygraphy")
    from polygraphy.tools.convert.convert import Convert
    from polygraphy.tools.run.run import Run

    options = ExportOptions(build=Options(True, 64, tmp_path / "cache"))
    found = equivalent_commands(saved("pointnet"), tmp_path / "out", options=options)
    for line, tool in ((found.polygraphy, Convert()), (found.compare, Run())):
        _, unknown = _parser(tool).parse_known_args(shlex.split(line)[2:])
        assert unknown == []


def _parser(tool):
    import argparse

    parser = argparse.ArgumentParser()
    tool.setup_parser(parser.add_subparsers())
    (action,) = parser._subparsers._group_actions
    return next(iter(action.choices.values()))
