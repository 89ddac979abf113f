"""What happens beside the steps of a run: a file for each callback."""
