"""Faults on real parts while a load runs, and oracles that say afterwards whether anything was lost, doubled, or out of order."""
