"""HTTP Live Streaming (RFC 8216) with CMAF segments."""
