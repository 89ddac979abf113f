"""Turns conversations and pixels into the model's inputs."""
