"""MPEG-DASH (ISO/IEC 23009-1) with CMAF segments."""
