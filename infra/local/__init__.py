"""The local stack: PostgreSQL, S3, MLflow, a Ray head and Prometheus on one machine, on loopback."""
