"""The parts of the training stream without Ray: from positions of the plan to the rows that a rank trains on."""
