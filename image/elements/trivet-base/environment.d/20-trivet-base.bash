# Interfaces are cloud-init's and systemd-networkd's: no ifupdown files.
export DIB_APT_MINIMAL_CREATE_INTERFACES=0
# The image says which Debian it is; only the free archive is used.
export DIB_DEBIAN_COMPONENTS=${DIB_DEBIAN_COMPONENTS:-main}
