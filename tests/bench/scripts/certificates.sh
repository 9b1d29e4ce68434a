#!/bin/bash
# Authorities and certificates of a cluster, by openssl: certificates.sh FOLDER MASTER ADDRESS [WORKER ADDRESS]…
# FOLDER/NODE gets what lies in /etc/kubernetes/pki of a node, and the kubelet's client certificate.
set -euo pipefail
out=$1 master=$2 master_ip=$3
cas=$out/cas; mkdir -p "$cas/etcd"

authority() { # PATH NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=$2" \
    -keyout "$cas/$1.key" -out "$cas/$1.crt" 2>/dev/null
}
certificate() { # PATH SIGNER SUBJECT USAGE [NAMES]
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$3" -keyout "$pki/$1.key" 2>/dev/null |
    openssl x509 -req -days 365 -CA "$cas/$2.crt" -CAkey "$cas/$2.key" -out "$pki/$1.crt" 2>/dev/null \
      -extfile <(echo "basicConstraints=critical,CA:false"; echo "keyUsage=critical,digitalSignature"
                 echo "extendedKeyUsage=$4"; [ -z "${5:-}" ] || echo "subjectAltName=$5")
}

authority ca kubernetes; authority etcd/ca etcd-ca; authority front-proxy-ca front-proxy-ca
openssl ecparam -name prime256v1 -genkey -noout 2>/dev/null | openssl pkcs8 -topk8 -nocrypt -out "$cas/sa.key"
openssl pkey -in "$cas/sa.key" -pubout -out "$cas/sa.pub"

shift
while [ $# -gt 0 ]; do
  name=$1 ip=$2; shift 2
  pki=$out/$name; mkdir -p "$pki/etcd" "$pki/kube-proxy" "$pki/scheduler"
  certificate etcd/flannel-client etcd/ca "/O=$name/CN=flannel" clientAuth
  certificate kubelet ca "/O=system:nodes/CN=system:node:$name" serverAuth "DNS:$name,IP:$ip"
  certificate kubelet-client ca "/O=system:nodes/CN=system:node:$name" clientAuth
  certificate kube-proxy/client ca /CN=system:kube-proxy clientAuth
  if [ "$name" != "$master" ]; then
    cp "$cas/ca.crt" "$pki/"; cp "$cas/etcd/ca.crt" "$pki/etcd/"; continue
  fi
  cp -r "$cas/." "$pki/"
  api="DNS:$name,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost"
  api+=",DNS:kubernetes.default.svc.cluster.local,IP:10.96.0.1,IP:$master_ip,IP:127.0.0.1"
  etcd="DNS:$name,DNS:localhost,IP:$master_ip,IP:127.0.0.1"
  certificate apiserver ca /CN=kube-apiserver serverAuth "$api"
  certificate apiserver-kubelet-client ca /CN=kube-apiserver-kubelet-client clientAuth
  certificate apiserver-etcd-client etcd/ca /CN=kube-apiserver-etcd-client clientAuth
  certificate front-proxy-client front-proxy-ca /CN=front-proxy-client clientAuth
  certificate etcd/server etcd/ca "/CN=$name" serverAuth,clientAuth "$etcd"
  certificate etcd/peer etcd/ca "/CN=$name" serverAuth,clientAuth "$etcd"
  certificate etcd/healthcheck-client etcd/ca /CN=kube-etcd-healthcheck-client clientAuth
  certificate admin ca "/O=kubeadm:cluster-admins/CN=kubernetes-admin" clientAuth
  certificate super-admin ca "/O=system:masters/CN=kubernetes-super-admin" clientAuth
  certificate controller-manager ca /CN=system:kube-controller-manager clientAuth
  certificate scheduler/client ca /CN=system:kube-scheduler clientAuth
done
