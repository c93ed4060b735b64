"""Limits and detectors shared by scores and economy."""
