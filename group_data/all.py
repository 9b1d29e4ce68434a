"""Settings of all hosts; docs/options.md lists them. As long as nothing is set here the defaults hold."""

# k8s_version = "v1.X.Y"
# flannel_network = "10.1.0.0/16"
# service_network = "10.96.0.0/12"
# image_registry = "registry.lan:5000"
# _sudo = True  # where the login is not root
