"""Arteries and veins of a patient: centrelines with radii, variants, calibres."""
