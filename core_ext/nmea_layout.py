"""What both NMEA 0183 scanners keep to: the grammar of the line, and the fields of each sentence.

    $GPRMC,161229.487,A,3723.2475,N,12158.3416,W,0.13,309.62,120598,,*10 CR LF
    | address         fields                                       | sum

A scanner is fed whole chunks and returns items, tuples of

    (state, kind, address, raw, fields)

`raw` holds every byte of the item with its line end. `kind` is the formatter of a sentence in
LAYOUTS (`RMC`), else "", and `fields` holds its typed values, else (). What is not part of an item
is counted in `dropped` by reason, so that

    sum of len(raw) + sum of dropped + bytes still held = bytes fed

whatever the chunking, up to `flush`. The grammar, at each byte:

    $ or !     a sentence: printable bytes up to a line end (CR, LF, CR LF), the next $ or !, or
               anything else; at most MAX_SENTENCE bytes
    printable  a line of text or what stands before a sentence; at most MAX_TEXT bytes, and only
               from a line's start: the tail of a torn sentence is no text
    a frame    of another protocol by its mark, passed over when its own checksum holds
    the rest   junk

[0183]  NMEA 0183 4.11 / IEC 61162-1: sentences, checksum, the fields of each formatter
"""

GOOD, MISSING, WRONG, TORN, TEXT = range(5)
"""States of an item: the checksum holds, there is none, it does not hold; cut short; no sentence."""

Value = int | float | str | None
Item = tuple[int, str, str, bytes, tuple[Value, ...]]

MAX_SENTENCE = 1024  # the standard says 82; RTK and proprietary sentences are longer
MAX_TEXT = 128
MAX_FRAME = 8192  # of another protocol
CREDIT = 65_536  # bytes of frames that may prove false before good bytes are seen again,
EARNED = 16  # and how many more for each good byte: a hostile peer costs little
MAX_FIELDS = 80  # of one sentence that are read
MAX_DIGITS = 18  # of one number; what fits a 64-bit integer

DROPS = (
    "blank",  # line ends with nothing before them
    "stray",  # a start mark with nothing behind it
    "junk",
    "text",  # printable, but not from a line's start
    "overlong",
    "ubx",
    "rtcm3",
    "sirf",
    "skytraq",
    "casic",
    "allystar",
)

# t time of day in microseconds      y latitude and its hemisphere   f number as float
# d date as the integer ddmmyy       x longitude and its hemisphere  n number as sent
# i integer                          s text                          _ not read
# Behind "*" a group that repeats; one field left over after it is text (GSV's signal id).
# A value that is empty, missing or malformed is None.
LAYOUTS = {
    # kind: (layout, fields that must be whole when a silence ends the sentence)
    "GGA": ("tyxiiff_f_fs", 12),
    "RMC": ("tsyxffdfsss", 10),
    "GLL": ("yxtss", 6),
    "GNS": ("tyxsiffffss", 9),
    "VTG": ("fsf_f_f_s", 8),
    "GSA": ("siiiiiiiiiiiiifffs", 16),
    "GSV": ("iii*innn", 19),
    "ZDA": ("tiiiii", 4),
    "GST": ("tfffffff", 7),
    "GBS": ("tffffffff", 7),
    "RMA": ("syx__fffs", 9),
}
"""[0183] section 8.3. RMA is Loran-C's RMC, which some trackers still send."""

CHINESE_GSV = "PQ"
"""SPEC-GAP: Quectel's talker for BeiDou. Every other address on P is proprietary: PGRMC is no RMC."""
