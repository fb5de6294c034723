"""The vocabulary of telemetry: every name that a decoder may give to what a device sent.

What a device sends beyond it is kept as `io_<its own id>`. A name never changes its unit or
meaning; new names are added where they belong.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    unit: str  # SI symbol, or "" for text, counts and truth values
    meaning: str


VOCABULARY: dict[str, Term] = {
    # power
    "battery_percent": Term("%", "charge of the device's own battery"),
    "battery_v": Term("V", "voltage of the device's own battery"),
    "battery_a": Term("A", "current of the device's own battery, charging positive"),
    "external_v": Term("V", "voltage of the supply the device is wired to"),
    "external_percent": Term("%", "charge of the battery the device is wired to"),
    "charging": Term("", "the device's battery is being charged"),
    "battery_cycles": Term("", "charge cycles of the external battery"),
    # vehicle
    "ignition": Term("", "ignition (ACC) is on"),
    "motion": Term("", "the device's own verdict that it moves"),
    "odometer_m": Term("m", "total distance counted by the device"),
    "trip_odometer_m": Term("m", "distance of the current trip, counted by the device"),
    "can_odometer_m": Term("m", "total distance from the vehicle's bus"),
    "engine_hours_s": Term("s", "total running time of the engine"),
    "engine_rpm": Term("1/min", "engine speed"),
    "engine_load_percent": Term("%", "calculated engine load"),
    "throttle_percent": Term("%", "throttle position"),
    "obd_speed_mps": Term("m/s", "speed from the vehicle's bus"),
    "coolant_c": Term("°C", "coolant temperature"),
    "fuel_l": Term("l", "fuel in the tank"),
    "fuel_percent": Term("%", "fuel in the tank"),
    "fuel_used_l": Term("l", "total fuel used"),
    "driving_time_s": Term("s", "time the driver has driven"),
    "blocked": Term("", "fuel or starter is cut off"),
    "armed": Term("", "the vehicle's alarm is set"),
    "door": Term("", "a door is open"),
    "driver_id": Term("", "driver's card or key"),
    # inputs and outputs
    "inputs": Term("", "digital inputs, bit n is input n+1"),
    "outputs": Term("", "digital outputs, bit n is output n+1"),
    "input_1": Term("", "digital input 1"),
    "input_2": Term("", "digital input 2"),
    "input_3": Term("", "digital input 3"),
    "input_4": Term("", "digital input 4"),
    "adc_1_v": Term("V", "analogue input 1"),
    "adc_2_v": Term("V", "analogue input 2"),
    # surroundings
    "temperature_c": Term("°C", "temperature at the device's sensor"),
    "humidity_percent": Term("%", "relative humidity"),
    "pressure_pa": Term("Pa", "air pressure"),
    # radio and identity
    "rssi_dbm": Term("dBm", "received signal strength of the mobile network"),
    "gsm_level": Term("", "signal strength on the device's own scale"),
    "network_type": Term("", "wifi, mobile, offline: how the device was connected"),
    "operator": Term("", "name of the mobile network"),
    "iccid": Term("", "SIM card number"),
    "imsi": Term("", "subscriber number"),
    "phone": Term("", "phone number that the device names"),
    "model": Term("", "model the device states"),
    "firmware": Term("", "firmware version the device states"),
    # receiver
    "satellites_in_view": Term("", "satellites in view"),
    "vdop": Term("", "vertical dilution of precision"),
    "pdop": Term("", "position dilution of precision"),
    "vertical_accuracy_m": Term("m", "the device's own estimate of its vertical error"),
    "geoid_separation_m": Term("m", "mean sea level above the ellipsoid"),
    "fix_quality": Term(
        "", "NMEA GGA quality: 1 autonomous, 2 differential, 4 RTK, 6 dead reckoning"
    ),
    "climb_mps": Term("m/s", "vertical speed, up positive"),
    # person and phone
    "activity": Term("", "still, walking, running, on_bicycle, in_vehicle, ..."),
    "steps": Term("", "step count"),
    "rollovers": Term("", "times the device was turned over"),
    "trigger": Term("", "why the device reported now, in the device's own words"),
    "monitoring_mode": Term("", "OwnTracks monitoring mode"),
    "regions": Term("", "names of the regions the phone is in"),
    "geofence": Term("", "number of the fence the device names"),
    "tracker_id": Term("", "two-letter id shown by OwnTracks"),
    # bookkeeping
    "backfill": Term("", "stored by the device and sent later"),
    "index": Term("", "the device's own record number"),
    "event_code": Term("", "the device's own event number"),
    "status_word": Term("", "the device's status bits, unread"),
    "command_result": Term("", "the device's answer to a command, in its own words"),
    "boot_reason": Term("", "why the device restarted"),
    "tamper": Term("", "the case was opened or the device removed"),
}

EXTRA_NAME = re.compile(r"io_\w+")


def is_known(name: str) -> bool:
    """True for a name of the vocabulary and for `io_<id>`."""
    return name in VOCABULARY or EXTRA_NAME.fullmatch(name) is not None
