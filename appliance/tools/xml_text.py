"""XML, written the same way everywhere. Pure."""

from __future__ import annotations

from xml.etree import ElementTree as Xml


def text(parent: Xml.Element, tag: str, content: str, **attributes: str) -> None:
    """Append ``<tag attributes>content</tag>``; empty content: an empty element."""
    element = Xml.SubElement(parent, tag, attributes)
    if content:
        element.text = content
