"""Relaxation rates and proton density from magnitudes."""
