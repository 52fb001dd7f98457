"""Files: NIfTI, BIDS trees, phase encodings, derivative data sets."""
