"""The page in headless Chromium, and its sampling in Node, beside Python."""

import json
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest

from crosspoint.data.io.files import read_points
from crosspoint.data.points import drawing, normalise
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.released import resolve

NODE, NPM = shutil.which("node"), shutil.which("npm")
DRIVER, BROWSER = shutil.which("chromedriver"), shutil.which("chromium")
needs_node = pytest.mark.skipif(NODE is None, reason="needs node")
needs_browser = pytest.mark.skipif(
    NPM is None or DRIVER is None or BROWSER is None, reason="needs npm, Chromium and its chromedriver"
)
DRAWS = """
import { Rng, draw } from "%s";
console.log(JSON.stringify(%s.map(([seed, stored, count]) => draw(new Rng(seed, stored), stored, count))));
"""
EMBED = """
const [model, points, done] = arguments;
const { run, ort } = window.crosspoint;
ort.InferenceSession.create(model, { executionProviders: ["wasm"] })
  .then((session) => run(session, Float32Array.from(points)))
  .then((outputs) => done(Array.from(outputs.embedding.data)), (error) => done(String(error)));
"""
PREPARE = """
const [name, bytes, count, up, done] = arguments;
const modules = Promise.all([import("./reading.js"), import("./preprocessing.js")]);
modules.then(([{ readCloud }, { dropMissing, prepare }]) => {
  const points = dropMissing(readCloud(name, Uint8Array.from(bytes).buffer));
  done(Array.from(prepare(points, { count, up })));
}).catch((error) => done(String(error)));
"""


@needs_node
def test_points_are_drawn_as_in_python(examples):
    cases = [(0, 1, 1), (0, 2049, 1024), (5, 10_001, 200), (5, 10_001, 201), (2**32 - 1, 20_000, 1024)]
    script = DRAWS % ((examples / "browser" / "preprocessing.js").as_uri(), json.dumps(cases))
    done = subprocess.run([NODE, "--input-type=module"], input=script, capture_output=True, text=True, check=True)
    expected = [drawing(seed, stored).choice(stored, count, replace=False).tolist() for seed, stored, count in cases]
    assert json.loads(done.stdout) == expected


@pytest.fixture(scope="module")
def site(tmp_path_factory, examples, bundle):
    """The page, built with the packages of npm, on a port of this machine."""
    folder = tmp_path_factory.mktemp("browser")
    packages = examples / "browser" / "node_modules"
    if not packages.is_dir():
        shutil.copy(examples / "browser" / "package.json", folder)
        done = subprocess.run([NPM, "install", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"npm cannot install onnxruntime-web: {done.stderr.strip()[-200:]}")
        packages = folder / "node_modules"
    sys.path.insert(0, str(examples / "browser"))
    try:
        import build
    finally:
        sys.path.pop(0)
    build.build(str(bundle), folder / "dist", per_class=1, packages=packages)
    shutil.copy(resolve("dgcnn", ".onnx"), folder / "dist" / "data" / "dgcnn.onnx")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder / "dist")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(folder=folder / "dist", url=f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def guess_type(self, path):
        return "text/javascript" if str(path).endswith(("js", "mjs")) else super().guess_type(path)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def page(site, tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(120)
    driver.get(site.url)
    wait(driver, "Ready.")
    yield driver
    driver.quit()


def wait(page, start):
    """Until the status begins so, or says that something failed."""
    from selenium.webdriver.support.ui import WebDriverWait

    def status(page):
        element = page.find_element("id", "status")
        return element.text if element.text.startswith(start) or "bad" in element.get_attribute("class") else False

    found = WebDriverWait(page, 120).until(status)
    assert found.startswith(start), found
    return found


def relative(found, expected):
    return np.linalg.norm(np.array(found) - expected) / np.linalg.norm(expected)


@needs_browser
def test_the_shipped_dgcnn_gives_the_embedding_of_python(page):
    points = normalise(np.random.default_rng(0).normal(size=(1, 1024, 3)) * (1, 0.6, 0.3))
    found = page.execute_async_script(EMBED, "data/dgcnn.onnx", points.ravel().tolist())
    with load_encoder("dgcnn", threads=1) as encoder:
        assert relative(found, encoder.embed(points)[0]) < 5e-7  # 2.5e-7 was measured


@needs_browser
@pytest.mark.parametrize("up", ["y", "z", "-x"])
def test_a_file_becomes_the_points_of_python(page, golden, tmp_path, up):
    np.save(tmp_path / "cloud.npy", golden["cloud"])
    expected = normalise(read_points(tmp_path / "cloud.npy", 64, seed=0, up=up))[0]
    found = page.execute_async_script(PREPARE, "c.npy", list((tmp_path / "cloud.npy").read_bytes()), 64, up)
    np.testing.assert_allclose(np.reshape(found, (-1, 3)), expected, atol=1e-6)


@needs_browser
@pytest.mark.parametrize("kind", ["binary", "ascii", "text", "fortran"])
def test_other_files_are_read(page, tmp_path, kind):
    import trimesh

    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    file = tmp_path / {"text": "cloud.xyz", "fortran": "cloud.npy"}.get(kind, "cloud.ply")
    if kind == "fortran":
        np.save(file, np.asfortranarray(points))
    elif kind == "text":
        np.savetxt(file, points, header="x y z")
    else:
        file.write_bytes(trimesh.PointCloud(points, colors=[9, 8, 7, 255]).export(file_type="ply", encoding=kind))
    found = page.execute_async_script(PREPARE, file.name, list(file.read_bytes()), 64, "y")
    np.testing.assert_allclose(np.reshape(found, (-1, 3)), normalise(points), atol=1e-6)


@needs_browser
def test_a_chosen_file_shows_its_class_and_its_neighbours(page, bundle, golden, tmp_path):
    np.save(tmp_path / "scan.npy", golden["cloud"])
    page.find_element("css selector", "#up option[value=z]").click()
    page.find_element("id", "file").send_keys(str(tmp_path / "scan.npy"))
    wait(page, "scan.npy: 129 points")
    with load_encoder(bundle, threads=1) as encoder:
        expected = encoder.predict([tmp_path / "scan.npy"], up="z")
    label = page.find_element("id", "label").text
    assert label.startswith(expected.labels[0])
    assert ("unlike all classes" in label) == bool(expected.unknown[0])
    percent = page.find_element("css selector", "#bars li span:last-child").text
    assert percent == f"{100 * expected.probabilities[0]:.0f} %"
    assert len(page.find_elements("css selector", "#neighbours li")) == 9


@needs_browser
def test_a_shape_has_the_neighbours_and_distances_of_python(page, site, bundle):
    data = site.folder / "data"
    buttons = page.find_elements("css selector", "#samples button")
    next(button for button in buttons if button.text == "airplane").click()
    wait(page, "airplane.npy:")
    cards = [card.text.split("\n") for card in page.find_elements("css selector", "#neighbours li")]
    with load_encoder(bundle, threads=1) as encoder:
        (query,) = encoder.embed(normalise(read_points(data / "airplane.npy", 64, seed=0)))
    shapes = np.fromfile(data / "embeddings.bin", "<f4").reshape(-1, len(query))
    distances = 1 - shapes @ query / np.linalg.norm(query)
    nearest = np.argsort(distances)[: len(cards)]
    names = json.loads((data / "about.json").read_text())["names"]
    assert [name for name, _ in cards] == [names[i].split("/")[0].replace("_", " ") for i in nearest]
    np.testing.assert_allclose([float(found) for _, found in cards], distances[nearest], atol=1e-3)


@needs_browser
def test_a_file_that_is_no_cloud_is_one_line(page, tmp_path):
    from selenium.webdriver.support.ui import WebDriverWait

    (tmp_path / "note.txt").write_text("not a cloud")
    page.find_element("id", "file").send_keys(str(tmp_path / "note.txt"))
    element = page.find_element("id", "status")
    WebDriverWait(page, 60).until(lambda _: "bad" in element.get_attribute("class"))
    assert element.text == "note.txt: the cloud has no points"


@needs_browser
@pytest.mark.parametrize("size", [(1280, 900), (390, 844)])
def test_nothing_is_wider_than_the_window(page, size):
    page.set_window_size(*size)
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


@needs_browser
def test_the_console_has_no_errors(page):
    assert [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
