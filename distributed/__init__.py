"""What several devices and machines need: sums, barriers, heartbeats, servers."""
