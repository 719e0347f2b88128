"""Devices, processes, files and progress: what the code runs on. Nothing here knows a model."""
