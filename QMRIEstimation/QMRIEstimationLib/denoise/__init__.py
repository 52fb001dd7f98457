"""Noise taken out of raw images before anything is fitted to them."""
