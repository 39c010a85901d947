"""The report in a real browser: on a desktop, on a phone, on paper, and without a network."""

import shutil

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from crosspoint.cli import crosspoint
from crosspoint.core.files import write_json
from crosspoint.models import DGCNNSegmenter
from crosspoint.models.weights import save_model
from crosspoint.report.page import report
from crosspoint.runtime.jobs.embed import embed
from crosspoint.runtime.options import Sampling

DRIVER, BROWSER = shutil.which("chromedriver"), shutil.which("chromium")
pytestmark = pytest.mark.skipif(DRIVER is None or BROWSER is None, reason="needs Chromium and its chromedriver")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CUT_TABLES = """return [...document.querySelectorAll('table')]
  .filter((table) => table.getBoundingClientRect().right > table.parentElement.getBoundingClientRect().right + 1
    || [...table.querySelectorAll('td')].some((cell) => cell.scrollWidth > cell.clientWidth + 1))
  .map((table) => table.innerText)"""
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def write_parts(folder):
    """Two categories, balls of two halves and sticks of three pieces."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((8, 128, 3)).astype(np.float32)
    labels = np.arange(8) % 2
    halves, thirds = (points[..., 1] > 0).astype(int), 2 + np.digitize(points[..., 1], [-0.5, 0.5])
    parts = np.where(labels[:, None] == 0, halves, thirds)
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        with h5py.File(folder / f"ply_data_{split}0.h5", "w") as file:
            file["data"], file["label"], file["pid"] = points, labels.astype(np.uint8)[:, None], parts.astype(np.uint8)
    taxonomy = {"categories": ["ball", "stick"], "parts": ["ball/low", "ball/high", "stick/a", "stick/b", "stick/c"]}
    write_json(folder / "taxonomy.json", {**taxonomy, "category_parts": {"ball": [0, 1], "stick": [2, 3, 4]}})


@pytest.fixture(scope="module")
def page(tmp_path_factory, pointnet, writers):
    root = tmp_path_factory.mktemp("results")
    data = writers["modelnet40"](root / "sets")
    embed(pointnet, [data], out=root / "embeddings.npz", sampling=Sampling(32))
    write_parts(root / "parts" / "shapenet_part_seg_hdf5_data")
    return report(root).out


@pytest.fixture(scope="module")
def measured(tmp_path_factory, pointnet, part_set, writers):
    """A page about results of many kinds, of models with long names."""
    root = tmp_path_factory.mktemp("measured")
    long = root / ("a_folder_with_a_long_name_" * 3) / ("and_an_encoder_with_one_" * 4 + ".safetensors")
    long.parent.mkdir()
    shutil.copyfile(pointnet, long)
    torch.manual_seed(0)
    save_model(DGCNNSegmenter(5, 2, k=4).eval(), root / "segmenter.safetensors")
    data = ("--data", writers["modelnet40"](root / "sets"), "--points", 32)
    parts = ("--data", part_set, "--points", 32, "--against", root / "segmenter.safetensors", "--out", root / "partseg")
    lines = {
        "svm": ("eval", "svm", long, *data, "--seeds", 1, "--against", pointnet),
        "robustness": ("eval", "robustness", long, pointnet, *data, "--against", pointnet, "--corruption", "noise"),
        "partseg": ("eval", "partseg", root / "segmenter.safetensors", *parts),
        "bench": ("bench", long, "--points", 32, "--batch", 2, "--threads", 1, "--seconds", 0, "--device", "cpu"),
        "table1": ("reproduce", "table1", *data, "--model", long, "--out", root / "made"),
    }
    for name, line in lines.items():
        words = [str(word) for word in (*line, "--json", root / f"{name}.json")]
        done = CliRunner().invoke(crosspoint, words)
        assert done.exit_code == 0, done.output
    result = report(root)
    assert result.remarks == []
    assert {"The paper's tables and figures", "Robustness", "Part segmentation", "Speed"} <= set(result.sections)
    return result.out


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page):
    browser.set_window_size(*SIZES["desktop"])
    browser.get(f"file://{page}")
    return browser


def pixels(browser):
    return browser.execute_script("return document.querySelector('.turntable canvas').toDataURL()")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["page", "measured"])
def test_nothing_is_wider_than_the_screen_and_nothing_is_complained_of(browser, name, size, request):
    width, height = SIZES[size]
    phone = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    browser.get(f"file://{request.getfixturevalue(name)}")
    browser.execute_script("for (const folded of document.querySelectorAll('details')) folded.open = true")
    assert browser.execute_script("return innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(CUT_TABLES) == []
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_asks_for_nothing_but_itself(opened, page):
    entries = opened.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in entries if not name.startswith("data:")] == []


def test_pointing_at_a_dot_shows_its_cloud(opened):
    dot = opened.find_element(By.CSS_SELECTOR, "circle[data-cloud]")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", dot)
    ActionChains(opened).move_to_element(dot).perform()
    peek = opened.find_element(By.ID, "peek")
    assert peek.is_displayed()
    assert peek.text == dot.get_attribute("aria-label")
    assert peek.text in ("ball", "stick", "plate")


def test_the_turntable_turns_and_changes_its_shape_and_its_legend(opened):
    canvas = opened.find_element(By.CSS_SELECTOR, ".turntable canvas")
    assert canvas.is_displayed()
    assert not opened.find_element(By.CSS_SELECTOR, ".turntable .still").is_displayed()
    canvas.send_keys(Keys.ARROW_RIGHT)  # stops the turning
    before = pixels(opened)
    assert pixels(opened) == before
    canvas.send_keys(Keys.ARROW_RIGHT)
    assert pixels(opened) != before
    canvas.send_keys(Keys.ARROW_LEFT)
    legend = "return [...document.querySelectorAll('[data-legend]')].filter((l) => !l.hidden).map((l) => l.innerText)"
    assert opened.execute_script(legend) == ["lowhigh"]
    opened.find_elements(By.CSS_SELECTOR, ".turntable button")[1].click()
    assert opened.execute_script(legend) == ["abc"]
    assert pixels(opened) != before


def test_the_turntable_uses_the_whole_width(opened):
    edges = "return [...document.querySelectorAll(arguments[0])].map((part) => part.getBoundingClientRect().toJSON())"
    (figure,) = opened.execute_script(edges, ".turntable")
    (canvas,), (side,) = (opened.execute_script(edges, f".turntable {part}") for part in ("canvas", ".side"))
    assert canvas["left"] == figure["left"]
    assert abs(side["right"] - figure["right"]) < 1
    assert 0 < side["left"] - canvas["right"] < 40
    assert canvas["top"] == side["top"]


def test_on_a_phone_an_entry_of_a_table_has_its_column_s_name(browser, measured):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    browser.get(f"file://{measured}")
    before = "return getComputedStyle(document.querySelector(arguments[0]), '::before').content"
    names = "return [...document.querySelectorAll('table.stacked td[data-column]')].map((cell) => cell.dataset.column)"
    assert browser.execute_script(before, "td[data-column='p90, ms']") == '"p90, ms"'
    assert {"official", "clean", "ran on", "p50, ms", "memory, MB"} <= set(browser.execute_script(names))
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nothing_is_wider_than_the_paper(browser, measured):
    a4 = {"width": 718, "height": 1047, "deviceScaleFactor": 1, "mobile": False}  # less margins of 1 cm
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", a4)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.get(f"file://{measured}")
    browser.execute_script("for (const folded of document.querySelectorAll('details')) folded.open = true")
    width = browser.execute_script("return document.documentElement.scrollWidth")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert width <= 718


def test_curves_have_their_models_colours(browser, measured):
    browser.get(f"file://{measured}")
    colour = "return [...document.querySelectorAll(arguments[0])].map((line) => getComputedStyle(line).stroke)"
    keys = browser.execute_script(colour, ".keys line")
    assert browser.execute_script(colour, ".charts polyline") == keys
    assert len(set(keys)) == len(keys) == 2


def test_paper_has_what_is_folded_on_the_screen(opened):
    assert len(opened.print_page()) > 10_000
    assert opened.execute_script("return [...document.querySelectorAll('details')].every((d) => d.open)")
