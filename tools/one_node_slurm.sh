#!/bin/sh
# Start Slurm on this one machine, to try `study -P engine=slurm` where there is no cluster:
#   apt install slurm-wlm munge && sudo sh tools/one_node_slurm.sh /tmp/slurm && export SLURM_CONF=/tmp/slurm/slurm.conf
set -eu
folder=$1
mkdir -p "$folder/state" "$folder/spool" /run/munge
chown munge: /run/munge
[ -s /etc/munge/munge.key ] || mungekey --create
pgrep -x munged > /dev/null || su -s /bin/sh munge -c munged
cat > "$folder/slurm.conf" << CONF
ClusterName=one
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=1
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc --all) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF="$folder/slurm.conf"
slurmctld
slurmd
sleep 2
sinfo
