"""MLflow runs, pictures and the model registry."""

import os

# Set here because mlflow reads them while it is imported: it sends no telemetry, logs only warnings, and shows no bars.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
