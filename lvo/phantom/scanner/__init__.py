"""What a scanner makes of a patient: pose, kernels, noise, artefacts, series."""
