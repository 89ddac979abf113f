"""S3: rclone serves a folder. Each folder in it is a bucket."""

from infra.local.credentials import Credentials
from infra.local.part import HOST, PATIENCE_S, Part, find_command, inherited
from infra.local.settings import Settings

BUCKET = "mlflow"
REGION = "us-east-1"
"""Servers of one's own have no regions; clients want the name of one."""


CHECKSUMS = "when_required"
"""rclone does not know the checksums that boto3 sends by itself."""


def auth_key(credentials: Credentials) -> str:
    """Keys as rclone reads them from its environment: CSV, each entry a pair with a comma in it."""
    return f'"{credentials.s3_key_id},{credentials.s3_secret}"'


def url(settings: Settings) -> str:
    """The endpoint."""
    return f"http://{HOST}:{settings.ports.s3}"


def part(settings: Settings, credentials: Credentials) -> Part:
    """The server; its bucket exists, once `prepare` has been called."""
    folder = settings.folder / "s3"
    return Part(
        name="S3",
        command=(
            find_command("rclone", "make setup"),
            "serve",
            "s3",
            f"--addr={HOST}:{settings.ports.s3}",
            str(folder),
        ),
        environment=inherited("RCLONE_", "AWS_")
        | {
            "RCLONE_AUTH_KEY": auth_key(credentials),
            "RCLONE_CONFIG": str(settings.folder / "no-rclone.conf"),
            "RCLONE_CACHE_DIR": str(settings.folder / "s3-cache"),
        },
        healthy=lambda: answers(settings, credentials),
        address=url(settings),
        log=settings.logs / "s3.log",
        folder=settings.folder,
    )


def answers(settings: Settings, credentials: Credentials) -> bool:
    """Whether the bucket is there for whoever has the keys."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    patience = {"connect_timeout": PATIENCE_S, "read_timeout": PATIENCE_S}
    asking = boto3.client(
        "s3",
        endpoint_url=url(settings),
        region_name=REGION,
        aws_access_key_id=credentials.s3_key_id,
        aws_secret_access_key=credentials.s3_secret,
        config=Config(retries={"total_max_attempts": 1}, proxies={}, **patience),
    )
    try:
        asking.head_bucket(Bucket=BUCKET)
    except (BotoCoreError, ClientError):
        return False
    return True


def client(settings: Settings, credentials: Credentials) -> dict[str, str]:
    """Variables for a client, such as boto3."""
    return {
        "AWS_ENDPOINT_URL_S3": url(settings),
        "AWS_ACCESS_KEY_ID": credentials.s3_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.s3_secret,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REQUEST_CHECKSUM_CALCULATION": CHECKSUMS,
    }


def prepare(settings: Settings) -> None:
    """Make the bucket, unless it exists."""
    folder = settings.folder / "s3"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / BUCKET).mkdir(exist_ok=True)
