"""Volume to volume: the head frame, resampling, acceptance checks."""
