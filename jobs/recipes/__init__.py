"""The shipped recipes, and how a command finds one by its name."""

from pathlib import Path

from vlm3.errors import ConfigError

FOLDER = Path(__file__).resolve().parent
DEFAULT_RECIPE = FOLDER / "rooms.yaml"
DEFAULT_SEARCH = FOLDER / "search_rooms.yaml"


def recipe_file(given: Path) -> Path:
    """The file that `given` means: a path, or the name of a shipped recipe or search (`four_tasks`).

    A file in the current folder comes first.

    Raises:
        ConfigError: a name without a folder that is neither.
    """
    if given.is_file() or given.parent != Path():
        return given
    shipped = {file.stem: file for file in sorted(FOLDER.glob("*.yaml"))}
    if given.name.removesuffix(".yaml") not in shipped:
        raise ConfigError(f"{given}: no such file, and none of the shipped recipes: {', '.join(shipped)}")
    return shipped[given.name.removesuffix(".yaml")]
