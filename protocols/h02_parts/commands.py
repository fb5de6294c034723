"""Commands to H02 devices: `*MM,ID,CMD,HHMMSS,...#`; documents in protocols/h02.py."""

import re
from datetime import datetime

from protocols.fields import match

# [HQ] S20, R1, R7, R8, S14, S23, S24. SPEC-GAP: S71, SCF, D1, whose parameters differ by firmware.
COMMANDS = {
    "engine_stop": "S20,{time},1,1",
    "engine_resume": "S20,{time},1,0",
    "report_interval": "S71,{time},22,{seconds}",
    "arm": "SCF,{time},0,0",
    "disarm": "SCF,{time},1,1",
    "restart": "R1,{time}",
    "cancel_alarms": "R7,{time}",
    "listen": "R8,{time},{phone}",
    "track": "D1,{time},{seconds},{count}",
    "speed_limits": "S14,{time},{maximum},{minimum},{number},{times}",
    "server": "S23,{time},{host}:{port}",
    "apn": "S24,{time},{apn}",
}
PARAMETER = re.compile(r"[!-\"$-)+\--~]+")  # printable, without the marks `*`, `#` and comma


def encode(
    command: str, *, ident: str, now: datetime, maker: str = "HQ", **parameters: str | int
) -> bytes:
    """A command of COMMANDS; the time of sending comes back in the V4 that answers it.

    Raises ValueError for a command, or a parameter, that there is not.
    """
    if command not in COMMANDS:
        raise ValueError(f"no command {command!r}; there are: {', '.join(COMMANDS)}")
    form = COMMANDS[command]
    wanted = set(re.findall(r"{(\w+)}", form)) - {"time"}
    if wanted != set(parameters):
        raise ValueError(f"{command} takes: {', '.join(sorted(wanted)) or 'nothing'}")
    words = {
        name: match(PARAMETER, str(value), f"value of {name}")[0]
        for name, value in parameters.items()
    }
    body = form.format(time=f"{now:%H%M%S}", **words)
    return f"*{maker},{ident},{body}#".encode()
