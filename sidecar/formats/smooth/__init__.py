"""Smooth Streaming ([MS-SSTR])."""
