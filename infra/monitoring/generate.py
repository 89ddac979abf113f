"""Write the dashboards as JSON for Grafana: `python -m infra.monitoring.generate`, in the root of the repository."""

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from infra.monitoring import data_plane, endpoint, training

FOLDER = Path(__file__).parent / "dashboards"
BOARDS = {"data_plane": data_plane.build, "training": training.build, "endpoint": endpoint.build}


def dashboards() -> dict[Path, str]:
    """Files of all dashboards, and their content."""
    return {
        FOLDER / f"{name}.json": JSONEncoder(sort_keys=True, indent=1).encode(build().build()) + "\n"
        for name, build in BOARDS.items()
    }


def main() -> None:
    """Write them."""
    for file, content in dashboards().items():
        file.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
