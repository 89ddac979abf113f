"""Ray Data graphs: ingest, the training stream, batch prediction."""
