"""Patients made of real anatomy: a head CT for the tissue, an angiogram's arteries for the tree."""
