"""What libvirt says a guest on this host can be given (``virsh domcapabilities``)."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from appliance.errors import Refused


def usable_cpu_models(xml: str) -> frozenset[str]:
    """Names of the CPU models that are usable. Raises ``Refused`` (``libvirt.capabilities``)."""
    try:
        models = Xml.fromstring(xml).findall("./cpu/mode[@name='custom']/model")  # noqa: S314 - our own libvirt said it
    except Xml.ParseError as error:
        raise Refused(
            "libvirt.capabilities",
            subject="the capabilities of this host",
            reason=f"libvirt's answer is not XML ({error})",
            remedy="`virsh domcapabilities` on this node shows it.",
        ) from error
    return frozenset((model.text or "").strip() for model in models if model.get("usable") == "yes")
