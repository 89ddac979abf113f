"""What the platform runs on, from a laptop to Kubernetes."""
