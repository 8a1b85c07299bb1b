"""Who starts the workers of a study. Every engine starts the same command, and gives a handle on the processes.

- `local.py`: processes of this machine;
- `slurm.py`: a job array, by submitit; a preempted or expired job is requeued, and goes on;
- `ray.py`: tasks of a running Ray cluster; those of a lost node start again on another.
"""
