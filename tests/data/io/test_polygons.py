"""Triangles of polygons, held against areas by the shoelace formula and points inside by the crossing rule."""

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.io.meshes import areas, read_mesh, sample_surface
from crosspoint.data.io.polygons import triangulate
from crosspoint.data.io.rows import Rows

U = [(0, 0), (3, 0), (3, 3), (2, 3), (2, 1), (1, 1), (1, 3), (0, 3)]
ARROW = [(0, 0), (2, 1), (0, 2), (1, 1)]
L = [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]
HEXAGON = [(np.cos(a), np.sin(a)) for a in np.arange(6) * np.pi / 3]


def comb(teeth):
    """A comb: as concave as can be."""
    points = [(0, 0), (teeth, 0)]
    for i in range(teeth - 1, -1, -1):
        points += [(i + 1, 2), (i + 0.5, 0.5)]
    return [*points, (0, 2)]


POLYGONS = {
    "U": U,
    "arrow": ARROW,
    "L": L,
    "hexagon": HEXAGON,
    "comb": comb(9),
    "square": [(0, 0), (1, 0), (1, 1), (0, 1)],
}


def shoelace(polygon):
    x, y = np.array(polygon, float).T
    return abs(sum(x[i - 1] * y[i] - x[i] * y[i - 1] for i in range(len(x)))) / 2


def inside(point, polygon):
    """Whether a ray to the right crosses the outline an odd number of times."""
    x, y = point
    crossings = 0
    for (ax, ay), (bx, by) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            crossings += 1
    return crossings % 2 == 1


@pytest.fixture(params=POLYGONS)
def polygon(request):
    return POLYGONS[request.param]


def turned(polygon):
    """In a plane of its own in space, which keeps areas."""
    frame = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    return np.c_[np.array(polygon, float), np.zeros(len(polygon))] @ frame + [5, 6, 7], frame


@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("back", [1, -1])
def test_a_polygon_is_covered_once_from_every_corner_and_both_ways_round(polygon, start, back):
    vertices, frame = turned(polygon)
    corners = np.roll(np.arange(len(polygon))[::back], start)
    faces = triangulate(vertices, Rows(corners, np.array([len(corners)])))
    assert len(faces) == len(polygon) - 2
    assert areas(vertices, faces).sum() == pytest.approx(shoelace(polygon))
    points, _ = sample_surface(vertices, faces, count=400, rng=np.random.default_rng(0))
    flat = ((points - [5, 6, 7]) @ frame.T)[:, :2]
    assert all(inside(point, polygon) for point in flat.tolist())
    normals = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    assert (normals @ frame[2] * back > 0).all()  # all turn as the polygon does


def test_polygons_keep_their_order_and_small_ones_have_no_triangle():
    vertices, _ = turned(U)
    lengths = np.array([3, 8, 2, 4, 1])
    corners = np.array([0, 1, 2, *range(8), 0, 1, 0, 1, 2, 3, 5])
    faces = triangulate(vertices, Rows(corners, lengths))
    assert faces[0].tolist() == [0, 1, 2]
    assert faces[-2:].tolist() == [[0, 1, 2], [2, 3, 0]]
    assert len(faces) == 1 + 6 + 2


def test_a_corner_that_is_no_vertex_is_refused():
    with pytest.raises(InputError, match="a face with vertex 9, but 8 vertices"):
        triangulate(np.zeros((8, 3)), Rows(np.array([0, 1, 9]), np.array([3])))


def test_a_polygon_without_area_has_no_bad_triangle():
    line = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [1, 0, 0]], float)
    faces = triangulate(line, Rows(np.arange(4), np.array([4])))
    assert areas(np.r_[line, [[0, 5, 0]]], np.r_[faces, [[0, 1, 4]]]).sum() == pytest.approx(2.5)


def obj(polygon):
    rows = "".join(f"v {x} {y} 0\n" for x, y in polygon)
    return rows + "f " + " ".join(f"{i + 1}/{i + 1}/1" for i in range(len(polygon))) + "\n"


def off(polygon, keyword="OFF", extra="", split=" "):
    rows = "".join(f"{x} {y} 0{extra}\n" for x, y in polygon)
    n = len(polygon)
    return f"{keyword}\n{n} 1 0\n{rows}{n}{split}{split.join(map(str, range(n)))}\n"


def ply(polygon):
    n = len(polygon)
    head = f"ply\nformat ascii 1.0\nelement vertex {n}\nproperty float x\nproperty float y\nproperty float z\n"
    head += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    return head + "".join(f"{x} {y} 0\n" for x, y in polygon) + f"{n} {' '.join(map(str, range(n)))}\n"


FILES = {
    "a.obj": obj,
    "back.obj": lambda p: obj(p).split("f ")[0] + "f " + " ".join(str(i - len(p)) for i in range(len(p))) + "\n",
    "goes-on.obj": lambda p: obj(p).replace("f 1/1/1", "f 1/1/1 \\\n"),
    "a.off": off,
    "coloured.off": lambda p: off(p)[:-1] + " 255 0 0\n",
    "coff.off": lambda p: off(p, "COFF", " 255 0 0 255"),
    "noff.off": lambda p: off(p, "NOFF", " 0 0 1"),
    "stoff.off": lambda p: off(p, "STOFF", " 0.5 0.5"),
    "stcnoff.off": lambda p: off(p, "STCNOFF", " 0 0 1 1 1 1 1 0.5 0.5"),
    "lines.off": lambda p: off(p, split="\n"),
    "counts.off": lambda p: off(p).replace("OFF\n", "OFF ", 1),
    "a.ply": ply,
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_every_format_have_the_area_of_their_polygons(name, polygon, tmp_path):
    (tmp_path / name).write_text(FILES[name](polygon))
    mesh = read_mesh(tmp_path / name)
    assert areas(mesh.vertices, mesh.faces).sum() == pytest.approx(shoelace(polygon))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("4OFF\n1 0 0\n0 0 0 0\n", "four coordinates"),
        ("OFF BINARY\n", "is binary"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3\n0\n1\n", "cut off"),
    ],
)
def test_off_files_that_are_refused(content, message, tmp_path):
    (tmp_path / "a.off").write_text(content)
    with pytest.raises(InputError, match=message):
        read_mesh(tmp_path / "a.off")
