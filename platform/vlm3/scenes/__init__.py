"""Foreign datasets read into frames; clips; checks."""
