"""Publishing points: what encoders push, how it is kept, and what of it can be played."""
