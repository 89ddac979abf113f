"""Ray Data graphs: ingest, the training stream, batch prediction."""

import os

# Ray reads its settings once, when it is imported; this file runs before every module of this package.
# With its default poll of 2 s, Ray Train loses a checkpoint reported just before a crash.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
if not os.environ.get("RAY_ADDRESS"):
    # Every process of a private cluster binds 127.0.0.1 only.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
