#!/bin/bash
# On the worker: stand-ins.sh PORT…. /srv/stand-ins/PORT/{kubernetes,record,kubelet-pki,translate} are there.
# Makes a mount namespace for each, and one sshd that listens on all the ports.
set -euo pipefail
cd /srv/stand-ins
mountpoint -q . || { mount --bind . .; mount --make-private .; }
for port; do
  ( cd "$port"
    touch namespace lock busy /run/docker-multinode.lock /run/docker-multinode.busy
    unshare --mount="$PWD/namespace" --propagation private sh -c "
      mount --bind '$PWD/kubernetes' /etc/kubernetes; mount --bind '$PWD/record' /var/lib/docker-multinode
      mount --bind '$PWD/kubelet-pki' /var/lib/kubelet/pki
      mount --bind '$PWD/lock' /run/docker-multinode.lock; mount --bind '$PWD/busy' /run/docker-multinode.busy" )
done
{ printf 'Port %s\n' "$@"
  echo 'ForceCommand /usr/local/sbin/stand-in'
  echo 'MaxStartups 500'
  echo 'PidFile /run/stand-ins.pid'
  echo 'Include /etc/ssh/sshd_config.d/*.conf'
  echo 'UsePAM yes'
} > /etc/ssh/stand-ins.conf
[ ! -e /run/stand-ins.pid ] || kill "$(cat /run/stand-ins.pid)"
/usr/sbin/sshd -f /etc/ssh/stand-ins.conf
