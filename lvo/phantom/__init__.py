"""Synthetic patients with their truth: sampled from a seed, imaged by a scanner, written as DICOM."""
