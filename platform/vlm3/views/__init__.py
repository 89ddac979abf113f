"""Images as the model sees them: decode and focal unification."""
