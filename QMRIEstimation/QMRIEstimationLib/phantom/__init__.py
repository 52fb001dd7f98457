"""The digital MS patient: object, physics of the sequences, and its files."""
