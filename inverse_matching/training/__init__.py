"""The one training loop, its step, checkpoints and metrics."""
