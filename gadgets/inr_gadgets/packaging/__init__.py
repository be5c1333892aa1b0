"""Packages for vendors' platforms: what describes a container to its host, and what a host can install."""
