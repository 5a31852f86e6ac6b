"""Training of the detector's networks with plain torch: data, losses, loop, checkpoints, metrics log."""
