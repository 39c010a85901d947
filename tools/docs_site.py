"""A hook of MkDocs: pages at the root of the repository become pages of the site, and links between both hold.

GitHub shows the same files without it, so that links in them are written for the repository.
"""

import re
from pathlib import Path
from typing import Any

PAGES = {"README.md": "index.md"} | {name: name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")}
FILES = ("LICENSE", "NOTICE", "CITATION.cff")
LINK = re.compile(r"\]\((\.\./|docs/)?([^)#\s]*)")
EXAMPLES = "examples/"


def on_files(files: Any, config: Any) -> Any:
    """Add the pages and files of the repository's root."""
    from mkdocs.structure.files import File

    root = Path(config["config_file_path"]).parent
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(root / name).read_text(encoding="utf-8")))
    for name in FILES:
        files.append(File.generated(config, f"{name}.txt", content=(root / name).read_text(encoding="utf-8")))
    for path in sorted([*root.glob(f"{EXAMPLES}*/README.md"), *root.glob(f"{EXAMPLES}*/*.ipynb")]):
        place = path.relative_to(root).as_posix()
        files.append(File.generated(config, place, content=path.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links of the repository into links of the site."""
    if page.file.src_uri.startswith(EXAMPLES):
        return markdown.replace("](../../docs/", "](../../").replace("](../../README.md", "](../../index.md")
    return LINK.sub(lambda found: f"]({site_link(found[2])}", markdown)


def site_link(target: str) -> str:
    """Where a page or file lies in the site, given its path without `../` or `docs/`.

    Example:
        >>> site_link("README.md"), site_link("LICENSE"), site_link("export.md")
        ('index.md', 'LICENSE.txt', 'export.md')
    """
    return f"{target}.txt" if target in FILES else PAGES.get(target, target)
