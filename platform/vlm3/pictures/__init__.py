"""What pictures of samples and answers have in common."""
