"""Hard DICOM cases: series as scanners and archives break them, each with an oracle made of formulas."""
