"""Readers of foreign data: from files that others wrote to frames, and on to shards."""
