"""Magnetic susceptibility from the phase of multi-echo GRE."""
