"""The report in a real browser: on a desktop, on a phone, on paper, and without a network."""

import shutil

import h5py
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from crosspoint.artefacts import write_json
from crosspoint.eval.report import report
from crosspoint.runtime.embed import embed

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
    embed(pointnet, [data], root / "embeddings.npz", 32)
    write_parts(root / "parts" / "shapenet_part_seg_hdf5_data")
    return report(root)["out"]


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
def test_nothing_is_wider_than_the_screen_and_nothing_is_complained_of(browser, page, size):
    width, height = SIZES[size]
    phone = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    browser.get(f"file://{page}")
    assert browser.execute_script("return innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
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


def test_paper_has_what_is_folded_on_the_screen(opened):
    assert len(opened.print_page()) > 10_000
    assert opened.execute_script("return [...document.querySelectorAll('details')].every((d) => d.open)")
