"""All about the correspondence task."""
