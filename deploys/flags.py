"""Flags of Kubernetes' and etcd's programs that no setting may have: the deploy sets them, or they have no effect."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pyinfra.api import DeployError

_OWNED: Mapping[str, tuple[str, ...]] = {
    "apiserver_extra_args": ("advertise-address", "anonymous-auth", "authentication-config", "client-ca-file",
                             "etcd-cafile", "etcd-certfile", "etcd-keyfile", "etcd-servers",
                             "kubelet-certificate-authority", "kubelet-client-certificate", "kubelet-client-key",
                             "proxy-client-cert-file", "proxy-client-key-file", "requestheader-client-ca-file",
                             "secure-port", "service-account-issuer", "service-account-key-file",
                             "service-account-signing-key-file", "service-cluster-ip-range", "tls-cert-file",
                             "tls-private-key-file"),
    "controller_manager_extra_args": ("authentication-kubeconfig", "authorization-kubeconfig",
                                      "client-ca-file", "cluster-signing-cert-file", "cluster-signing-key-file",
                                      "kubeconfig", "requestheader-client-ca-file", "root-ca-file", "secure-port",
                                      "service-account-private-key-file"),
    "scheduler_extra_args": ("authentication-kubeconfig", "authorization-kubeconfig", "kubeconfig",
                             "secure-port"),
    "kubelet_extra_args": ("cert-dir", "client-ca-file", "cluster-domain", "config", "container-runtime-endpoint",
                           "healthz-port", "hostname-override", "kubeconfig", "node-ip", "pod-manifest-path", "port",
                           "root-dir", "tls-cert-file", "tls-private-key-file"),
    "etcd_extra_args": ("advertise-client-urls", "cert-file", "client-cert-auth", "config-file", "data-dir",
                        "enable-grpc-gateway", "initial-advertise-peer-urls", "initial-cluster", "key-file",
                        "listen-client-urls", "listen-peer-urls", "name", "peer-cert-allowed-cn",
                        "peer-cert-allowed-hostname", "peer-cert-file", "peer-client-cert-auth", "peer-key-file",
                        "peer-trusted-ca-file", "trusted-ca-file", "wal-dir"),
}  # fmt: skip
"""Setting → flags that other parts rely on: keys, certificates, kubeconfigs, data, addresses, the cluster's own
settings."""

_EXCLUDED: Mapping[str, str] = {"oidc-": "authentication-config", "authorization-config": "authorization-mode"}
"""How flags begin with which the apiserver does not start → the deploy's, beside which it refuses them
(pkg/kubeapiserver/options/authentication.go and authorization.go, Validate)."""

_LOGGING = re.compile(r"v|vmodule|logging-format|log-[a-z-]+")
"""With --config kube-proxy drops what other flags say without a word (cmd/kube-proxy/app/options.go, Complete)."""


def check(given: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse flags that a user can't set.

    :param given: setting → its flags.
    :raises DeployError: there is one.
    """
    for name, owned in _OWNED.items():
        for flag in sorted(set(given[name]) & set(owned)):
            raise DeployError(f"{name} sets --{flag}, which is the deploy's to set; leave it out")
    for beginning, ours in _EXCLUDED.items():
        for flag in given["apiserver_extra_args"]:
            if flag.startswith(beginning):
                raise DeployError(
                    f"apiserver_extra_args sets --{flag}, which the apiserver refuses beside the deploy's --{ours}; "
                    "leave it out"
                )
    for flag in given["kube_proxy_extra_args"]:
        if not _LOGGING.fullmatch(flag):
            raise DeployError(
                f"kube_proxy_extra_args sets --{flag}, which kube-proxy ignores beside its configuration file; only "
                "flags about logging have an effect: v, vmodule, logging-format, log-…; leave it out"
            )
