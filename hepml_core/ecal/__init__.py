"""Calorimeter showers: tell electrons from photons by the energies and times of single crystals."""
