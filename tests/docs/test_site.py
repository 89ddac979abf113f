"""The guide as a site, built as `make docs` builds it."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import MARKDOWN, ROOT

CONFIGURATION = ROOT / "zensical.toml"
SHOWN = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE", "docs", "infra")
COLOUR = re.compile("\x1b\\[[0-9;]*m")
COMPARED = ("h1", "h2", "h3", "h4", "ul", "ol", "li", "table", "tr", "pre", "img")


@dataclass
class Html(HTMLParser):
    """What one page holds."""

    ids: set[str] = field(default_factory=set)
    targets: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    """What a browser fetches to show the page."""
    tags: Counter[str] = field(default_factory=Counter)
    """Tags of the text itself, without menus."""
    in_text: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self.ids |= {given["id"]} if "id" in given else set()
        self.in_text |= tag == "article"
        self.tags[tag] += self.in_text
        if tag == "a" and "href" in given:
            self.targets.append(given["href"])
        elif tag in ("link", "script", "img", "iframe", "source") and (source := given.get("href") or given.get("src")):
            self.loaded.append(source)

    def handle_endtag(self, tag: str) -> None:
        self.in_text &= tag != "article"


def build(folder: Path) -> tuple[int, str]:
    """Build the site of a copy of the repository: exit code, and what was printed."""
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, COLOUR.sub("", done.stdout + done.stderr)


def copy(folder: Path) -> Path:
    """What the site shows, and its configuration."""
    shutil.copy(CONFIGURATION, folder)
    for name in SHOWN:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder)
    return folder


def read(page: Path) -> Html:
    """A page of the site."""
    html = Html()
    html.feed(page.read_text(encoding="utf-8"))
    return html


def faults(site: Path) -> list[str]:
    """Links that lead out of the site, to a file or an anchor that it lacks; what is loaded from other servers."""
    read_pages = {page: read(page) for page in sorted(site.rglob("*.html")) if page.name != "404.html"}
    found = []
    for page, html in read_pages.items():
        shown = page.relative_to(site)
        found += [f"{shown}: loads {source}" for source in html.loaded if urlsplit(source).netloc]
        for target in html.targets + html.loaded:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            file = file / "index.html" if file.is_dir() else file
            anchor = unquote(parts.fragment)
            if not file.is_file():
                found.append(
                    f"{shown}: {target}: not part of the site; does exclude_docs in zensical.toml leave it out?"
                )
            elif anchor and file in read_pages and anchor not in read_pages[file].ids:
                found.append(f"{shown}: {target}: no such anchor")
    return found


def pages(site: Path) -> Iterator[tuple[Path, Path]]:
    """(Markdown file, page of the site) of every page."""
    for source in sorted(site.parent.rglob("*.md")):
        shown = source.relative_to(site.parent)
        yield source, site / (shown.parent / "index.html" if shown.name == "README.md" else shown.with_suffix(".html"))


def differences(site: Path) -> list[str]:
    """Pages whose lists, tables or code blocks are others on the site than for CommonMark."""
    found = []
    for source, page in pages(site):
        expected, shown = Html(in_text=True), read(page)
        expected.feed(MARKDOWN.render(source.read_text(encoding="utf-8")))
        counts = ((tag, shown.tags[tag], expected.tags[tag]) for tag in COMPARED)
        name = source.relative_to(site.parent)
        found += [
            f"{name}: {there} <{tag}> on the site, {here} in the repository"
            for tag, there, here in counts
            if there != here
        ]
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this repository."""
    folder = copy(tmp_path_factory.mktemp("site"))
    code, printed = build(folder)
    assert code == 0 and "No issues found" in printed, printed
    return folder / "site"


def test_all_that_pages_link_to_and_load_is_in_the_site(site: Path) -> None:
    assert len(read(site / "index.html").targets) > 30
    assert not faults(site), "\n".join(faults(site))


def test_every_page_looks_as_in_the_repository(site: Path) -> None:
    advice = "put blank lines around tables, and indent nested lists by two"
    assert not differences(site), "\n".join([*differences(site), advice])


def test_the_navigation_has_every_page_and_no_other(site: Path) -> None:
    """Single decisions are found through their list."""
    named = set(re.findall(r"'([^']+\.md)'", str(tomllib.loads(CONFIGURATION.read_text())["project"]["nav"])))
    shown = {str(source.relative_to(site.parent)) for source, _ in pages(site)}
    shown -= {page for page in shown if page.startswith("docs/decisions/0")}
    assert not shown - named, f"add to nav in zensical.toml: {sorted(shown - named)}"
    assert not named - shown, f"nav in zensical.toml names pages that are not there: {sorted(named - shown)}"


def plant(folder: Path, *lines: str) -> tuple[int, str]:
    """Build a copy of the repository with these lines in a page."""
    page = copy(folder) / "docs" / "jobs.md"
    page.write_text("\n".join([page.read_text(), *lines]))
    return build(folder)


def test_planted_links_to_pages_and_headings_that_do_not_exist_end_the_build(tmp_path: Path) -> None:
    code, printed = plant(tmp_path, "[a](nosuch.md)", "[b](data.md#nosuch)")
    assert code != 0
    assert "page does not exist" in printed and "anchor does not exist" in printed


def test_planted_links_to_other_files_and_servers_are_caught(tmp_path: Path) -> None:
    code, printed = plant(
        tmp_path,
        "![a](pictures/nosuch.png)",
        "[b](../jobs/train.py)",
        '<script src="https://example.org/x.js"></script>',
    )
    assert code == 0, printed
    lacking = "not part of the site; does exclude_docs in zensical.toml leave it out?"
    assert set(faults(tmp_path / "site")) >= {
        f"docs/jobs.html: pictures/nosuch.png: {lacking}",
        f"docs/jobs.html: ../jobs/train.py: {lacking}",
        "docs/jobs.html: loads https://example.org/x.js",
    }


def test_a_table_that_the_site_would_not_show_as_one_is_caught(tmp_path: Path) -> None:
    plant(tmp_path, "```", "code", "```", "| a | b |", "|---|---|", "| 1 | 2 |")
    assert [found for found in differences(tmp_path / "site") if found.startswith("docs/jobs.md")] == [
        "docs/jobs.md: 1 <table> on the site, 2 in the repository",
        "docs/jobs.md: 6 <tr> on the site, 8 in the repository",
    ]
