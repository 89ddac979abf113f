"""Conversations and pixels as the model's inputs."""
