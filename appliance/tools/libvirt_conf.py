"""libvirt's and QEMU's settings on a node, as blocks of their files."""

from __future__ import annotations

from appliance.tools.block import with_block

QEMU_CONF = "/etc/libvirt/qemu.conf"
LIBVIRTD_CONF = "/etc/libvirt/libvirtd.conf"
VIRTLOGD_CONF = "/etc/libvirt/virtlogd.conf"
CONSOLE_LOG_BYTES = 1024**2
"""What a VM may say before its oldest words go: a day of a chatty kernel. With one file of before: 2 MiB a VM."""
CONSOLE_LOG_DAYS = 30
"""How long the words of a VM are kept that says nothing any more, or is no more."""
QEMU_PKI = "/etc/pki/qemu"


def qemu_conf(text: str) -> str:
    """qemu.conf with our block.

    dynamic_ownership and remember_owner are off, because libvirt would chown a disk on the volume at every start and
    migration (and give it to root at the end) while another node may be about to open it: its files are QEMU's for good.
    """
    lines = (
        "dynamic_ownership = 0",
        "remember_owner = 0",
        f'default_tls_x509_cert_dir = "{QEMU_PKI}"',
        "default_tls_x509_verify = 1",
        "migrate_tls_force = 1",
        # screens too; viewers have no certificate of the cluster, they show their ticket
        "vnc_tls = 1",
        "vnc_tls_x509_verify = 0",
    )
    return with_block(text, "settings", lines)


def virtlogd_conf(text: str) -> str:
    """virtlogd.conf with our block: what VMs say on serial lines, and QEMUs to their own logs, is bounded."""
    lines = (f"max_size = {CONSOLE_LOG_BYTES}", "max_backups = 1", f"max_age_days = {CONSOLE_LOG_DAYS}")
    return with_block(text, "settings", lines)


def libvirtd_conf(text: str, cluster_id: str) -> str:
    """libvirtd.conf with our block: TLS clients must be nodes of this cluster.

    The name is matched in both orders in which GnuTLS versions print it.
    """
    allowed = f'["*O={cluster_id},OU=node,*", "*OU=node,O={cluster_id}*"]'
    return with_block(text, "settings", (f"tls_allowed_dn_list = {allowed}", 'auth_tls = "none"'))
