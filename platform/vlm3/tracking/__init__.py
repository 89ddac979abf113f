"""MLflow runs, pictures and the model registry."""
