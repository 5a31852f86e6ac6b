"""What is wrong besides the clot, and what a clot does to the brain."""
