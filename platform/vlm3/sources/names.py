"""Names of frames and scenes: a frame is one entry of the index, and no two entries of a scene share a name."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from vlm3.errors import DataError
from vlm3.sources.foreign import path_inside

K = TypeVar("K", bound=Hashable)


def given(entry: Any, key: str) -> str | None:
    """The text under a key of an entry that has not been checked yet; None where there is no text."""
    text = entry.get(key) if isinstance(entry, dict) else None
    return text if isinstance(text, str) else None


def frame_names(entries: Sequence[Any], scenes: Sequence[Hashable], where: str) -> tuple[str, ...]:
    """The name of each entry; no two entries of a scene share a name.

    A frame is named by its `id`, else by its image's name without folder and ending; where another frame of the scene
    has that name, by the path of its image without the ending, or with it.

    Args:
        entries: entries as they stand in the file.
        scenes: scene of each entry.
        where: file and list, for messages.

    Raises:
        DataError: two entries of a scene have the same `id`, or have none and show the same image.
    """
    choices = [_choices(entry, number) for number, entry in enumerate(entries)]
    level = [0] * len(entries)
    while clashes := _clashes(scenes, choices, level):
        movable = [place for places in clashes for place in places if level[place] + 1 < len(choices[place])]
        if not movable:
            first, second = clashes[0][:2]
            name = choices[first][level[first]]
            raise DataError(
                f"{where}.{first} and {where.rpartition(' ')[2]}.{second} of one scene are both called {name!r:.200}:"
                " give each frame an `id` of its own"
            )
        for place in movable:
            level[place] += 1
    return tuple(names[at] for names, at in zip(choices, level, strict=True))


def first_names(entries: Iterable[Any]) -> tuple[str, ...]:
    """The name that each entry gets where no other entry wants it."""
    return tuple(_choices(entry, number)[0] for number, entry in enumerate(entries))


def _choices(entry: Any, number: int) -> tuple[str, ...]:
    name, image = given(entry, "id"), given(entry, "image")
    if name is not None:
        return (name,)
    if image is None:
        return (f"number-{number}",)
    path = PurePosixPath(image)
    return path.stem, (path.parent / path.stem).as_posix(), path.as_posix()


def _clashes(scenes: Sequence[Hashable], choices: Sequence[tuple[str, ...]], level: Sequence[int]) -> list[list[int]]:
    """Groups of entries, by their numbers, that have the same scene and the same name."""
    places: dict[tuple[Hashable, str], list[int]] = defaultdict(list)
    for place, names in enumerate(choices):
        places[scenes[place], names[level[place]]].append(place)
    return [same for same in places.values() if len(same) > 1]


def row_names(frames: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(scene, frame) → name in the whole file: the frame's name, after its scene's where several scenes have it."""
    frames = list(frames)
    scenes_of: dict[str, int] = defaultdict(int)
    for _, frame in frames:
        scenes_of[frame] += 1
    return distinct({key: key[1] if scenes_of[key[1]] == 1 else "/".join(key) for key in frames})


def distinct(wanted: Mapping[K, str]) -> dict[K, str]:
    """The wanted names, in order; a name that is taken gets the first free suffix of `~2`, `~3`, …"""
    names: dict[K, str] = {}
    taken: dict[str, int] = {}
    for key, name in wanted.items():
        free = name
        while free in taken:
            taken[name] += 1
            free = f"{name}~{taken[name]}"
        taken[free] = 1
        names[key] = free
    return names


def same_pictures(
    folder: Path, shown: Iterable[tuple[str, str | None]], told: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Each scene that shares a picture with an earlier one → the earliest of them: they go to the same split.

    Args:
        folder: folder of the images.
        shown: (scene, image), in the order of scenes.
        told: scene → a name; scenes with the same name go together as if they shared a picture.
    """
    earlier: dict[str, str] = {}
    """Scene → itself, or an earlier one that it goes with."""
    place: dict[str, int] = {}
    shows: dict[Hashable, str] = {}

    def first(scene: str) -> str:
        while earlier[scene] != scene:
            earlier[scene] = earlier[earlier[scene]]
            scene = earlier[scene]
        return scene

    for scene, image in shown:
        earlier.setdefault(scene, scene)
        place.setdefault(scene, len(place))
        common: list[Hashable] = [] if image is None else [_file(folder, image)]
        common += [("told", told[scene])] if told and scene in told else []
        for each in common:
            both = sorted((first(shows.setdefault(each, scene)), first(scene)), key=place.__getitem__)
            earlier[both[1]] = both[0]
    return {scene: first(scene) for scene in earlier if first(scene) != scene}


def _file(folder: Path, image: str) -> Hashable:
    """An identity of a file that is the same for all its names, links included."""
    try:
        found = path_inside(folder, image).stat()
    except (DataError, OSError, ValueError):
        return PurePosixPath(image).as_posix()
    return found.st_dev, found.st_ino
