"""HTTP Dynamic Streaming: F4M manifests, bootstrap information, fragments of FLV tags."""
