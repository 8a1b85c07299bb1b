"""What goes to MLflow, and how a run there lives and ends."""
