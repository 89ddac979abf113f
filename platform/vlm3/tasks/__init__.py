"""Questions asked and answers read, in text."""
