"""Models that answer questions, in this process or behind an endpoint, for evaluation and serving."""
