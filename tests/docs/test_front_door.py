"""What strangers meet first: links, licence, workflows, and versions that are said twice."""

import re
from pathlib import Path

import pytest

import crosspoint

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def prose(page):
    """A page without its code."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(page):
    """Of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page):
    broken = []
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", prose(page)):
        found = (page.parent / target) if target else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def test_the_licence_is_the_one_that_the_package_names():
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()


def test_the_notice_names_every_author_whose_objects_the_weights_were_trained_on():
    card = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    table = card.split("## What they were trained on")[1].split("\n\n")[1]
    authors = [line.split(" | ")[2] for line in table.splitlines()[2:]]
    names = {name for cell in authors for name in cell.split(", named")[0].split(", ")} - {"this project"}
    notice = " ".join((ROOT / "NOTICE").read_text(encoding="utf-8").split())
    assert len(names) >= 6
    assert {name for name in names if name.split(" and ")[0] not in notice} == set()


def test_the_citation_has_the_version_of_the_package():
    assert f"\nversion: {crosspoint.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_pre_commit_has_the_ruff_of_the_package():
    pinned = re.findall(r"ruff==[\d.]+", (ROOT / "pyproject.toml").read_text())
    assert set(re.findall(r"ruff==[\d.]+", (ROOT / ".pre-commit-config.yaml").read_text())) == set(pinned)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_with_their_version_beside_it(workflow):
    uses = re.findall(r"uses: (.*)", workflow.read_text())
    assert uses
    assert [line for line in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_workflows_run_the_script_of_the_repository():
    assert any("bash .ci/run" in workflow.read_text() for workflow in WORKFLOWS)
