"""Which sample stands at which position of the stream, and which were consumed."""
