"""Staging of white-matter lesions on quantitative maps, and cohort results. Imports nothing of Slicer."""
