"""URIs of SQLite files, for folders of any name."""

from pathlib import Path
from urllib.parse import quote


def sqlite_uri(path: Path) -> str:
    """The URI by which SQLAlchemy and MLflow find the file at `path` (absolute).

    SQLAlchemy decodes what follows the slashes. MLflow does not, and creates the parent folder of the undecoded path.
    So in a path that needs encoding the slashes are encoded too: then that parent is the root folder, which exists.
    """
    text = str(path)
    return f"sqlite:///{text}" if quote(text) == text else f"sqlite:////{quote(text.removeprefix('/'), safe='')}"


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite URI; None for other stores."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    database = make_url(uri).database
    return Path(database) if database else None
