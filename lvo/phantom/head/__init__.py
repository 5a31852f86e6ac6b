"""Head, neck and chest of a patient, drawn at the points of any lattice."""
