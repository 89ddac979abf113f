"""The Markdown files of a repository as its hosting service shows them: headings, links, pictures and code."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from vlm3.errors import nearest

ROOT = Path(__file__).resolve().parent.parent.parent
NOT_OURS = {"build", "dist", "runs", "site"}
"""Folders that git ignores, beside those whose names begin with a dot."""
MARKDOWN = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True, slots=True)
class Place:
    """A piece of a page: the target of a link, or some code."""

    page: Path
    line: int
    text: str

    def __str__(self) -> str:
        return (
            f"{self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page}:{self.line}: {self.text}"
        )


def pages(root: Path) -> list[Path]:
    """Markdown files of a repository, without those that git ignores."""
    found = []
    for file in sorted(root.rglob("*.md")):
        folders = file.relative_to(root).parts[:-1]
        if not any(folder in NOT_OURS or folder.startswith(".") for folder in folders):
            found.append(file)
    return found


@cache
def tokens(page: Path) -> list[Token]:
    """A page, parsed."""
    return MARKDOWN.parse(page.read_text(encoding="utf-8"))


def inline(page: Path) -> Iterator[tuple[int, Token]]:
    """(line, piece) of everything in running text, headings and tables."""
    line = 0
    for token in tokens(page):
        line = token.map[0] + 1 if token.map else line
        yield from ((line, child) for child in token.children or [])


def links(page: Path) -> Iterator[Place]:
    """Targets of links and pictures."""
    for line, token in inline(page):
        target = token.attrGet("href") or token.attrGet("src")
        if target is not None:
            yield Place(page, line, str(target))


def code(page: Path) -> Iterator[Place]:
    """Lines of code blocks, those that a backslash continues as one, and code in running text."""
    for token in tokens(page):
        if token.type in ("fence", "code_block"):
            assert token.map
            number = token.map[0] + 1 + (token.type == "fence")
            for lines in re.findall(r"((?:.*\\\n)*.*)\n", token.content):
                yield Place(page, number, re.sub(r"\s*\\\n\s*", " ", lines))
                number += lines.count("\n") + 1
    for line, token in inline(page):
        if token.type == "code_inline":
            yield Place(page, line, token.content)


@cache
def anchors(page: Path) -> frozenset[str]:
    """Anchors of the headings: lower case, letters and digits kept, a space becomes a hyphen, the second gets `-1`."""
    seen: Counter[str] = Counter()
    found = set()
    for token, content in zip(tokens(page), tokens(page)[1:], strict=False):
        if token.type == "heading_open":
            shown = "".join(child.content for child in content.children or [])
            anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
            found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
            seen[anchor] += 1
    return frozenset(found)


def why_dead(link: Place, root: Path) -> str | None:
    """What is wrong with a link into the repository; None for one that leads somewhere, or to another server."""
    parts = urlsplit(link.text)
    if parts.scheme or parts.netloc:
        return None
    if parts.path.startswith("/"):
        return "begins with /: write it relative to the page"
    target = (link.page.parent / unquote(parts.path)).resolve() if parts.path else link.page
    if not target.is_relative_to(root):
        return "leads out of the repository"
    if not target.exists():
        return "there is no such file"
    fragment = unquote(parts.fragment)
    if not fragment:
        return None
    if target.suffix != ".md":
        return "only Markdown pages have anchors"
    known = anchors(target)
    return None if fragment in known else f"no such heading{nearest(fragment, known)}"


def dead_links(root: Path) -> list[str]:
    """Every dead link of a repository, with its place and what is wrong with it."""
    found = ((link, why_dead(link, root)) for page in pages(root) for link in links(page))
    return [f"{link}: {why}" for link, why in found if why]
