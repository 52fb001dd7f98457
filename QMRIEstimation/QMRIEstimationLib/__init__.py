"""The engine of QuantitativeMRI: raw acquisitions in, quantitative maps out. Imports nothing of Slicer."""

__version__ = "0.1.0"
