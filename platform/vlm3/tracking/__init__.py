"""MLflow runs, pictures and the model registry."""

import os

# Read by mlflow while it is imported, hence here: nothing is sent to anyone, and its log keeps to warnings.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
