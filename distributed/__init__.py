"""What several devices and machines need: sums, barriers, heartbeats, servers."""

STORES = "device", "local", "dist_sync", "dist_device_sync", "dist_async"
