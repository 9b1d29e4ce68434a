# One node, on its host, by `bash -s ROLE`: what runs goes, etcd's data, the authorities and the subnet stay.
set -uo pipefail
role=$1
boot="docker -H unix:///run/docker-bootstrap.sock"
no_chains() { # PATTERN: the rules that jump to these chains first, then the chains
  for c in iptables ip6tables; do for t in $($c-save 2>/dev/null | sed -n 's/^[*]//p'); do
    chains=$($c-save -t $t | awk "/^:($1)/{print substr(\$1,2)}")
    $c-save -t $t | awk "/^-A/ && / -[jg] ($1)/" | sed 's/^-A/-D/' | while read -r rule; do eval "$c -w -t $t $rule"; done
    for chain in $chains; do $c -w -t $t -F "$chain"; done
    for chain in $chains; do $c -w -t $t -X "$chain"; done
  done; done
}
no_directories() {
  for p; do
    awk -v p="$p/" 'index($5,p)==1{print $5}' /proc/self/mountinfo | sort -r | while read -r m; do umount "$m" || umount -l "$m"; done
    if mountpoint -q "$p"; then find "$p" -mindepth 1 -xdev -delete; else rm -rf --one-file-system "$p"; fi
  done
}

rm -rf /etc/kubernetes/manifests /etc/kubernetes/*.conf /etc/kubernetes/*.yaml
docker stop -t 20 kubelet; docker rm -f -v kubelet
docker ps --filter label=io.kubernetes.docker.type=container --format '{{.ID}} {{.Label "io.kubernetes.pod.namespace"}}' |
  awk '$2 != "kube-system" {print $1}' | xargs -r docker stop -t 30
docker ps -aq --filter label=io.kubernetes.docker.type | xargs -r docker rm -f -v
no_chains KUBE-
no_directories /var/lib/kubelet /var/lib/cri-dockerd /run/cri-dockerd.sock /var/log/pods /var/log/containers

# Docker keeps the address that docker0 has: once with the old one, then as it was
rm -f /etc/systemd/system/docker.service.d/zz-docker-multinode.conf
rmdir /etc/systemd/system/docker.service.d
command=$(systemctl cat docker.service | sed -n 's/^ExecStart=//p' | tail -n 1)
mkdir -p /run/systemd/system/docker.service.d
printf '[Service]\nExecStart=\nExecStart=%s --bip=%s\n' "$command" "$(cat /root/docker0.before)" \
  > /run/systemd/system/docker.service.d/once.conf
systemctl daemon-reload; systemctl stop docker.socket docker; systemctl start docker
rm -rf /run/systemd/system/docker.service.d
systemctl daemon-reload; systemctl stop docker.socket docker; systemctl start docker
iptables -w -S DOCKER-USER | grep -e '--comment docker-multinode ' | sed 's/^-A/iptables -w -D/' | sh

$boot stop -t 20 flannel; $boot rm -f -v flannel
ip link delete flannel.1
no_chains FLANNEL-
no_directories /run/flannel
[ "$role" != master ] || { $boot stop -t 20 etcd; $boot rm -f -v etcd; }
systemctl stop docker-bootstrap; systemctl disable --quiet docker-bootstrap
for n in dmboot dmbootp; do
  ctr -n $n leases ls -q | xargs -r ctr -n $n leases rm; ctr -n $n content ls -q | xargs -r ctr -n $n content rm
  ctr namespaces remove $n
done
rm -f /etc/systemd/system/docker-bootstrap.service /etc/docker-bootstrap/daemon.json
ip link delete docker-boot0
no_directories /var/lib/bootstrap-docker /run/bootstrap-docker /run/docker-bootstrap.sock /run/bootstrap-docker.pid
cd /etc/kubernetes/pki && find . -type f ! -name 'ca.*' ! -name 'front-proxy-ca.*' ! -name 'sa.*' -delete
rm -f /etc/modules-load.d/docker-multinode.conf /etc/sysctl.d/zz-docker-multinode.conf
! systemctl is-active --quiet docker-bootstrap && [ -z "$(docker ps -aq --filter name=kubelet)" ] &&
  [ "$(ip -4 -o addr show docker0 | awk '{print $4}')" = "$(cat /root/docker0.before)" ]
