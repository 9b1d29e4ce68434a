#!/bin/bash
# One node, on its host: up.sh NAME ADDRESS ROLE NODES. Beside it lie `files/`, the node's certificates in NAME/, and
# what each container is run with: WORDS are `docker run`'s words, a line a word.
set -euo pipefail
name=$1 address=$2 role=$3 nodes=$4
cd "$(dirname "$0")"
boot="docker -H unix:///run/docker-bootstrap.sock"
kubectl="docker exec -i kubelet kubectl --kubeconfig /etc/kubernetes"
say() { echo "$(date +%T) $*"; }
until_() { local n=0; until "$@" >/dev/null 2>&1; do [ $((n+=1)) -lt 900 ] || { echo "in vain: $*"; exit 1; }; sleep 0.2; done; }
pull() { # DOCKER IMAGE…: all at once
  local docker=$1 job; shift
  for image; do $docker pull -q "$image" & done; for job in $(jobs -p); do wait "$job"; done
}
start() { # DOCKER NAME
  local words; mapfile -t words < "$2.words"
  $1 run -d --name "$2" "${words[@]}"
}

say files, certificates
[ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || modprobe br_netfilter
[ -e /sys/module/vxlan ] || modprobe vxlan
sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1
ip -4 -o addr show docker0 | awk '{print $4}' > /root/docker0.before
cp -r files/. /
mkdir -p /etc/kubernetes/pki /var/lib/kubelet/pki
cat "$name/kubelet-client.crt" "$name/kubelet-client.key" > /var/lib/kubelet/pki/first.pem
chmod 600 /var/lib/kubelet/pki/first.pem; ln -s first.pem /var/lib/kubelet/pki/kubelet-client-current.pem
rm "$name"/kubelet-client.*; cp -r "$name/." /etc/kubernetes/pki/; chown -R 0:0 /etc/kubernetes

say bootstrap daemon
systemctl daemon-reload
systemctl enable --quiet docker-bootstrap; systemctl start docker-bootstrap
if [ "$role" = master ]; then
  say etcd
  pull "$boot" "$(cat etcd.image)"; start "$boot" etcd
  etcdctl="$boot exec etcd etcdctl --cacert /etc/kubernetes/pki/etcd/ca.crt
    --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt --key /etc/kubernetes/pki/etcd/healthcheck-client.key"
  until_ $etcdctl endpoint health
  $etcdctl role add flannel
  $etcdctl role grant-permission --prefix flannel read /coreos.com/network/
  $etcdctl role grant-permission --prefix flannel readwrite /coreos.com/network/subnets/
  for user in root:root kube-apiserver-etcd-client:root kube-etcd-healthcheck-client:root flannel:flannel; do
    $etcdctl user add --no-password "${user%:*}"; $etcdctl user grant-role "${user%:*}" "${user#*:}"
  done
  $etcdctl auth enable
  $etcdctl put /coreos.com/network/config '{"Network": "10.1.0.0/16", "SubnetLen": 24, "Backend": {"Type": "vxlan"}}'
fi
say flannel
pull "$boot" "$(cat flannel.image)"; start "$boot" flannel
until_ test -s /run/flannel/subnet.env
cp /run/flannel/subnet.env /var/lib/docker-multinode/subnet.env

say main docker
systemctl daemon-reload; systemctl restart docker
say images
pull docker "$(cat kubelet.image)" $(cat images)
say kubelet
start docker kubelet
until_ docker exec kubelet curl -fs http://127.0.0.1:10248/healthz
if [ "$role" = master ]; then
  say control plane
  for url in "https://$address:6443/readyz" https://127.0.0.1:10257/healthz https://127.0.0.1:10259/readyz; do
    until_ docker exec kubelet curl -fsk "$url"
  done
fi
until_ docker exec kubelet curl -fs http://127.0.0.1:10256/livez
if [ "$role" = master ]; then
  say addons
  $kubectl/super-admin.conf apply --server-side -f - < addons.yaml
fi

say Ready
until_ $kubectl/kubelet.conf wait --for=condition=Ready --timeout=5s "node/$name"
[ "$role" != master ] || $kubectl/super-admin.conf label node "$name" node-role.kubernetes.io/control-plane=
say pod network
others() { ip route show dev flannel.1 | awk '{sub("[.]0[/].*", ".1", $1); print $1}'; }
all_there() { [ "$(others | wc -l)" = $((nodes - 1)) ]; }
until_ all_there
for other in $(others); do until_ docker exec kubelet ping -c 1 -W 2 "$other"; done
say DNS
until_ timeout 20 docker run --rm --dns 10.96.0.10 "$(cat kubelet.image)" getent hosts kubernetes.default.svc.cluster.local
say done
