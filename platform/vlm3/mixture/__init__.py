"""Which sample each position of the stream has, and which positions were consumed."""
