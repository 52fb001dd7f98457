"""Sets of staging parameters for one purpose, as what they change of the defaults; measured in the README."""

PRESETS = {  # name -> table of settings, in the words of the TOML file
    "Standard": {},
    "Specific": {
        "rim": {"sds": 1.3, "floor": 0.007, "probable": 2 / 3},
        "stage": {"certain": 0.7, "margin": 0.3},
    },
    "Sensitive": {
        "rim": {"sds": 0.8, "floor": 0.004, "probable": 0.45, "possible": 0.25},
        "stage": {"certain": 0.35, "margin": 0.0},
    },
}
