"""XML files of annotation tools: parse, read numbers, write."""

import math
from pathlib import Path
from xml.etree import ElementTree

from unveil.io.files import DataError, write_file


def read_xml(path: Path) -> ElementTree.Element:
    """Return the root of an XML file.

    Args:
        path: The file.

    Raises:
        DataError: If it cannot be read or is not XML.
    """
    try:
        return ElementTree.parse(path).getroot()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path}: not XML, or cut short ({error})") from None


def number_of(element: ElementTree.Element, attribute: str, where: str) -> float:
    """Return an attribute as a finite number.

    Args:
        element: The XML element.
        attribute: The name of the attribute.
        where: The file and the entry, for the message.

    Raises:
        DataError: If the attribute is missing or not a finite number.
    """
    text = element.get(attribute, "")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{where}: {attribute} of <{element.tag}> is {text!r}, not a number")
    return number


def write_xml(path: Path, root: ElementTree.Element) -> None:
    """Write a document atomically.

    Args:
        path: The file. Missing folders are created.
        root: The root of the document. It is indented in place.

    Raises:
        ValueError: If a name in it has bytes that are not UTF-8.
    """
    ElementTree.indent(root)
    try:
        text = ElementTree.tostring(root, encoding="unicode").encode("utf-8")
    except UnicodeEncodeError as error:
        name = error.object[error.start - 20 : error.end + 20].encode("ascii", "backslashreplace").decode()
        raise ValueError(f"{path}: XML takes UTF-8 only, which {name!r} is not; rename the file") from None
    write_file(path, b'<?xml version="1.0" encoding="utf-8"?>\n' + text + b"\n")
