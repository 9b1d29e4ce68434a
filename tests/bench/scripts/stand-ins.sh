#!/bin/bash
# On the worker: stand-ins.sh PORT…. /srv/stand-ins/PORT/{kubernetes,record,kubelet-pki,translate} are there.
# Makes a mount namespace for each, and sshds that listen on all the ports.
set -euo pipefail

# A process holds each namespace: a file can't be relied on, since Linux 6.18 gives ids by processor and refuses to
# bind a namespace whose id is smaller than that of the one where it is done.
hold() {
  touch lock busy /run/docker-multinode.lock /run/docker-multinode.busy
  unshare --mount --propagation private sh -ec "
    mount --make-rshared / # as the host's, but apart from it
    mount --bind kubernetes /etc/kubernetes; mount --bind record /var/lib/docker-multinode
    mount --bind kubelet-pki /var/lib/kubelet/pki
    mount --bind lock /run/docker-multinode.lock; mount --bind busy /run/docker-multinode.busy
    echo \$\$ >holder; exec sleep 7200" </dev/null >holder.log 2>&1 &
  for _ in {1..100}; do [ -s holder ] && return; sleep 0.1; done
  cat holder.log >&2
  return 1
}

for port; do
  cd "/srv/stand-ins/$port"
  hold
done

# serve NAME PORT…: an sshd, which listens on 16 sockets at most
serve() {
  local name=stand-ins-$1
  shift
  { printf 'Port %s\n' "$@"
    echo 'AddressFamily inet'
    echo 'ForceCommand /usr/local/sbin/stand-in'
    echo 'MaxStartups 500'
    echo "PidFile /run/$name.pid"
    echo 'Include /etc/ssh/sshd_config.d/*.conf'
    echo 'UsePAM yes'
  } > "/etc/ssh/$name.conf"
  /usr/sbin/sshd -f "/etc/ssh/$name.conf"
}

for ((first = 1; first <= $#; first += 16)); do
  serve "$first" "${@:first:16}"
done
