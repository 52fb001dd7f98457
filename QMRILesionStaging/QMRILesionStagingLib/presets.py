"""Sets of staging parameters for one purpose, as what they change of the defaults; measured in the README.

Only what is made of the evidence differs: the rim detector and the likelihoods belong together.
"""

PRESETS = {  # name -> table of settings, in the words of the TOML file
    "Standard": {},
    "Cautious": {"stage": {"certain": 0.9, "margin": 0.5}},
}
