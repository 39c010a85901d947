"""The objects in a scan of many: ground removed, the rest divided into clusters."""
