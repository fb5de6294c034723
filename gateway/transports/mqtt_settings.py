"""Which broker, and which topics name a device.

    owntracks/USER/DEVICE[/KIND]    nmea/DEVICE    frames/PROTOCOL/DEVICE

Documents: OwnTracks' booklet, "Topics": below a device's topic stand event, info, waypoint(s) and
status, and `cmd` towards the device. Shared subscriptions, `$share/GROUP/FILTER`, are MQTT 5
section 4.8.2, and brokers honour them in 3.1.1 too.
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from model.records import DeviceIdentity

PORTS = {"mqtt": 1883, "mqtts": 8883}
FILTERS = {
    "owntracks": ("owntracks/+/+", "owntracks/+/+/+"),
    "nmea0183": ("nmea/+",),
}  # every other protocol: frames/PROTOCOL/+
MAX_LINKS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    host: str
    port: int
    protocol: str
    client_id: str  # fixed: the broker keeps our unacked messages under it
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    secure: ssl.SSLContext | None = None
    group: str | None = None  # gateways of one group share the devices
    max_inflight: int = 1000
    max_links: int = MAX_LINKS


def settings_from(
    url: str,
    protocol: str,
    *,
    client_id: str,
    group: str | None = None,
    max_inflight: int = 1000,
    environ: Mapping[str, str] = os.environ,
) -> MqttSettings:
    """`mqtt://user:password@broker:1883`, `mqtts://broker?ca=FILE`.

    What the URL leaves out is looked for in TRUETRACK_MQTT_USERNAME and TRUETRACK_MQTT_PASSWORD.
    Raises ValueError, whose text never holds the password.
    """
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.hostname or ''}"
    if parts.scheme not in PORTS or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(f"{shown}: expected mqtt://HOST:PORT or mqtts://HOST:PORT")
    try:
        port = parts.port or PORTS[parts.scheme]
    except ValueError:
        raise ValueError(f"{shown}: the port must be a number from 1 to 65535") from None
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := given.keys() - {"ca"}:
        raise ValueError(f"{shown}: unknown {', '.join(sorted(unknown))}; known: ca")
    secure = None
    if parts.scheme == "mqtts":
        try:
            secure = ssl.create_default_context(cafile=given.get("ca"))
        except OSError as error:  # SSLError is one
            raise ValueError(f"{shown}: ca={given.get('ca')}: {error}") from error
    elif "ca" in given:
        raise ValueError(f"{shown}: ca is for mqtts")
    if not client_id:
        raise ValueError(f"{shown}: the client identifier must not be empty")
    if group is not None and (not group or any(sign in group for sign in "/+#")):
        raise ValueError(f"{shown}: not a group's name: {group!r}")
    if max_inflight < 1:
        raise ValueError(f"{shown}: max_inflight must be at least 1")
    return MqttSettings(
        host=parts.hostname,
        port=port,
        protocol=protocol,
        client_id=client_id,
        username=_stated(parts.username) or environ.get("TRUETRACK_MQTT_USERNAME"),
        password=_stated(parts.password) or environ.get("TRUETRACK_MQTT_PASSWORD"),
        secure=secure,
        group=group,
        max_inflight=max_inflight,
    )


def _stated(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def filters_of(protocol: str, group: str | None) -> list[str]:
    """What to subscribe to."""
    share = f"$share/{group}/" if group else ""
    return [share + name for name in FILTERS.get(protocol, (f"frames/{protocol}/+",))]


def identity_of(protocol: str, topic: str) -> tuple[str, str] | None:
    """A device's own topic and its ident; None for what is not said by a device."""
    levels = topic.split("/")
    if protocol == "owntracks":
        if levels[3:] == ["cmd"]:
            return None
        topic = ident = "/".join(levels[:3])
    else:
        ident = levels[-1]
    try:
        DeviceIdentity(protocol=protocol, ident=ident)
    except ValueError:
        return None
    return topic, ident
