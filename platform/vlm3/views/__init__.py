"""Images as the model sees them: decoding, focal unification and samples."""
