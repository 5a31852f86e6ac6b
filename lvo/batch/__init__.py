"""Scoring of many studies: the route over an archive."""
