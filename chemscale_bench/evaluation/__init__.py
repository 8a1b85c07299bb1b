"""What trained models are measured by, beyond their training loss."""
