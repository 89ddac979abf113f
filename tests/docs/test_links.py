"""Links between the repository's Markdown files, to their headings, and to pictures, folders and other files."""

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors, dead_links, links, pages

PAGE = """# One `page`: *here* & there
[file](../Makefile) [page](two.md) [heading](two.md#δ1-of-two-models) [own](#one-page-here--there) [folder](../docs/)
![picture](a%20picture.png) [elsewhere](https://example.org/nothing) <https://example.org> [named][two]

[two]: two.md#again-1
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two pages whose links all lead somewhere."""
    for folder in ("docs", ".venv", "runs/train"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "Makefile").touch()
    (tmp_path / "docs" / "a picture.png").touch()
    (tmp_path / "docs" / "one.md").write_text(PAGE)
    (tmp_path / "docs" / "two.md").write_text("# Two\n## δ1 of two models\n## Again\n## Again\n")
    for ignored in (".venv/read.md", "runs/train/notes.md"):
        (tmp_path / ignored).write_text("[not ours](nosuch.md)")
    return tmp_path


def test_every_link_of_this_repository_leads_somewhere() -> None:
    assert {"README.md", "docs/data.md", "docs/decisions/README.md"} <= {
        str(page.relative_to(ROOT)) for page in pages(ROOT)
    }
    assert sum(1 for page in pages(ROOT) for _ in links(page)) > 40
    assert not dead_links(ROOT), "\n".join(["dead links:", *dead_links(ROOT)])


def test_links_of_every_kind_are_followed(repository: Path) -> None:
    assert dead_links(repository) == []
    assert len(list(links(repository / "docs" / "one.md"))) == 9
    assert anchors(repository / "docs" / "two.md") == {"two", "δ1-of-two-models", "again", "again-1"}


@pytest.mark.parametrize(
    ("planted", "why"),
    [
        ("[a](three.md)", "three.md: there is no such file"),
        ("![a](pictures/three.png)", "pictures/three.png: there is no such file"),
        ("[a](two.md#agan)", "two.md#agan: no such heading; did you mean 'again'?"),
        ("[a](#two)", "#two: no such heading"),
        ("[a][three]\n\n[three]: ../three/", "../three/: there is no such file"),
        ("| a |\n|---|\n| [a](../three.yaml) |", "../three.yaml: there is no such file"),
        ("[a](../../elsewhere.md)", "../../elsewhere.md: leads out of the repository"),
        ("[a](/docs/two.md)", "/docs/two.md: begins with /: write it relative to the page"),
        ("[a](../Makefile#test)", "../Makefile#test: only Markdown pages have anchors"),
    ],
)
def test_a_planted_dead_link_is_caught(repository: Path, planted: str, why: str) -> None:
    page = repository / "docs" / "three.markdown.md"
    page.write_text(f"# Three\n\n{planted}\n")
    (found,) = dead_links(repository)
    assert found.startswith(f"{page}:") and why in found
