"""A study's result made readable: key images and text."""
