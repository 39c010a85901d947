"""Speeds as bars, against numbers that were worked out by hand."""

from markupsafe import Markup
from report_pieces import bench_row, pieces, some

from crosspoint.report.sections import (
    speed,
)
from crosspoint.runtime.bench.bench import BenchResult


def test_without_a_bundle_there_is_no_speed_to_miss():
    assert speed.speed(pieces()) == Markup()


def test_speed_is_drawn_relative_to_the_slowest_time_and_the_highest_rate(shown):
    floor = some(operations=2.5e9, bytes=4e6)
    rows = [bench_row(5.0, 800.0, 2048), bench_row(20.0, 90.0, 512, floor), bench_row(8.0, 300.0, 512, floor)]
    result = some(schema=BenchResult.schema, rows=rows, not_run=[some(backend="tensorrt-rtx")])
    speed.speed(pieces(holds={BenchResult: [("bench.json", result)]}))
    context = shown[0][1]
    assert (context.slowest, context.fastest, context.points) == (20.0, 800.0, "512, 2048")
    assert context.floors == [("dgcnn", 512, "fp32", 2.5, 4.0)]
    assert context.not_run == [(result.not_run[0], "TensorRT-RTX")]
