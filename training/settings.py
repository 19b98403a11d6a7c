"""The words that a run can be told. Nothing here needs MXNet."""

STORES = ("device", "local", "dist_sync", "dist_device_sync", "dist_async")
READERS = ("records", "files", "mxnet")
FROZEN_STATISTICS = "move", "still"
