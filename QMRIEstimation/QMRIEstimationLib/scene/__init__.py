"""Between the scene of Slicer and the engine: the only place that knows MRML nodes. No widget is known here."""
