"""OpenOrigin's sidecar: decides what nginx sends.

Layers, each importing only from those above it (tests/test_layers.py):
errors, units, clock · storage · boxes · codecs · media · timeline · mux · formats · service · cli
"""
