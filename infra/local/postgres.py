"""PostgreSQL: one database, which MLflow owns. No other role can log in, and none but over loopback."""

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from infra.local.credentials import FOLDER, Credentials, write_private
from infra.local.part import HOST, Part, account_of
from infra.local.settings import Settings
from vlm3.errors import ConfigError

USER = DATABASE = "mlflow"
SERVERS = Path("/usr/lib/postgresql")
"""Where Debian puts each version's commands."""
ACCOUNTS = ("postgres", "nobody")
_FAST = signal.SIGINT
"""Ends connections and writes what is to be written; on SIGTERM it would wait for its clients to go."""
ACCESS = f"host {DATABASE} {USER} {HOST}/32 scram-sha-256\n"
"""Whole of pg_hba.conf."""
PASSWORDS = "pgpass"
"""File of the password in the format of PostgreSQL's clients."""


def command(name: str, data: Path | None = None) -> str:
    """Path of a command of PostgreSQL: of the version that made `data`, if that exists, else of the newest one here.

    Raises:
        ConfigError: it is not installed.
    """
    version = data / "PG_VERSION" if data is not None else None
    made_by = version.read_text().strip() if version is not None and version.is_file() else "*"
    versions = sorted(SERVERS.glob(f"{made_by}/bin/{name}"), key=lambda path: float(path.parts[-3]))
    found = str(versions[-1]) if versions else shutil.which(name)
    if found is None:
        raise ConfigError(f"no command {name}: apt-get install postgresql{'' if made_by == '*' else f'-{made_by}'}")
    return found


def uri(settings: Settings) -> str:
    """URI of the database for SQLAlchemy; the password comes from the file in `login`."""
    return f"postgresql+psycopg://{USER}@{HOST}:{settings.ports.postgres}/{DATABASE}"


def login(settings: Settings) -> dict[str, str]:
    """Variables by which clients of PostgreSQL find the password, in a file that `prepare` has written."""
    return {"PGPASSFILE": str(settings.folder / FOLDER / PASSWORDS)}


def part(settings: Settings, credentials: Credentials) -> Part:
    """The server; its data exist, once `prepare` has been called."""
    data = settings.folder / "postgres"
    options = {
        "listen_addresses": HOST,
        "port": settings.ports.postgres,
        "unix_socket_directories": "",
        "logging_collector": "off",
    }
    return Part(
        name="PostgreSQL",
        command=(command("postgres", data), "-D", str(data), *(f"--{key}={value}" for key, value in options.items())),
        environment=_environment(),
        healthy=lambda: answers(settings, credentials),
        address=f"{HOST}:{settings.ports.postgres}",
        log=settings.logs / "postgres.log",
        folder=data,
        user=_account(),
        stop=_FAST,
    )


def answers(settings: Settings, credentials: Credentials) -> bool:
    """Whether MLflow could log in and ask."""
    import psycopg

    try:
        with psycopg.connect(
            host=HOST,
            port=settings.ports.postgres,
            user=USER,
            dbname=DATABASE,
            password=credentials.postgres_password,
            connect_timeout=5,
            sslmode="disable",
        ) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def prepare(settings: Settings, credentials: Credentials) -> None:
    """Write the file of the password, and make the data folder with MLflow's role and database, unless it exists.

    Raises:
        ConfigError: the account that runs PostgreSQL cannot write there, or `initdb` fails.
    """
    write_private(settings.folder / FOLDER / PASSWORDS, f"{HOST}:*:{DATABASE}:{USER}:{credentials.postgres_password}\n")
    data = settings.folder / "postgres"
    if data.is_dir():
        return
    new = data.with_name("postgres.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700, parents=True)
    account = _account()
    if account is not None:
        shutil.chown(new, account)
    # Nobody logs in before pg_hba.conf is written: the server has not started yet.
    _run(command("initdb"), "--pgdata", str(new), "--username=postgres", "--auth=trust", "--encoding=UTF8")
    (new / "pg_hba.conf").write_text(ACCESS, encoding="utf-8")
    # In single-user mode each line is a statement. The password is read from the standard input.
    statements = [
        f"CREATE ROLE {USER} LOGIN PASSWORD '{credentials.postgres_password}'",
        f"CREATE DATABASE {DATABASE} OWNER {USER}",
    ]
    _run(command("postgres"), "--single", "-D", str(new), "postgres", said="\n".join(statements))
    new.rename(data)


def _run(*words: str, said: str = "") -> None:
    account = _account()
    done = subprocess.run(
        words,
        **account_of(account),
        input=said,
        cwd="/",
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    # In single-user mode a statement that fails does not end it.
    if done.returncode or "ERROR:" in done.stderr:
        place = f"PostgreSQL runs as {account} and" if account else "it"
        # The line after it repeats the statement, with the password.
        lines = [line for line in done.stderr.splitlines() if "STATEMENT:" not in line and line.strip()]
        last = (lines or ["no message"])[-1]
        raise ConfigError(
            f"{Path(words[0]).name} failed: {last}; {place} must be able to enter and write the folder of the stack:"
            " set VLM3_STACK to another folder, such as one below /var/lib"
        )


def _account() -> str | None:
    """PostgreSQL refuses to run as root: the account that it runs as then, None for anyone else."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ACCOUNTS if name in known)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
