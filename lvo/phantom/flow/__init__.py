"""What fills: the arteries as a network, clots in it, collaterals, and the bolus."""
