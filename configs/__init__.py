"""Experiments: each module has get_config(variant)."""
