"""The training loop and what it is made of: objectives, schedules, checkpoints, speed."""
