"""Tests of the estimators, the pruner, studies and replays."""
