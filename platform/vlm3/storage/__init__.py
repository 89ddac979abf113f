"""Object-store paths, Parquet shards and manifests."""
