"""What libvirt says a guest on this host can be given (``virsh domcapabilities``)."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from appliance.errors import Refused
from appliance.model.network import HostCapabilities


def usable_cpu_models(xml: str) -> frozenset[str]:
    """Names of the CPU models that are usable. Raises ``Refused`` (``libvirt.capabilities``)."""
    models = _read(xml).findall("./cpu/mode[@name='custom']/model")
    return frozenset((model.text or "").strip() for model in models if model.get("usable") == "yes")


def host_capabilities(xml: str, accelerated: bool) -> HostCapabilities:
    """All that is of interest. Raises ``Refused`` (``libvirt.capabilities``)."""
    root = _read(xml)
    most = root.find("vcpu")
    firmware = [value.text for value in root.findall("./os/enum[@name='firmware']/value")]
    secure = [value.text for value in root.findall("./os/loader/enum[@name='secure']/value")]
    return HostCapabilities(
        accelerated=accelerated,
        machine=root.findtext("machine", ""),
        cpus_maximum=int(most.get("max", 0)) if most is not None else 0,
        cpu_models=tuple(sorted(usable_cpu_models(xml))),
        uefi="efi" in firmware,
        secure_boot="efi" in firmware and "yes" in secure,
    )


def _read(xml: str) -> Xml.Element:
    try:
        return Xml.fromstring(xml)  # noqa: S314 - our own libvirt said it
    except Xml.ParseError as error:
        raise Refused(
            "libvirt.capabilities",
            subject="the capabilities of this host",
            reason=f"libvirt's answer is not XML ({error})",
            remedy="`virsh domcapabilities` on this node shows it.",
        ) from error
