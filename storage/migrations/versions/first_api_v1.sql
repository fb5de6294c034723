-- The contract with other systems: views that only ever grow. A breaking change is api_v2.

CREATE SCHEMA api_v1;
COMMENT ON SCHEMA api_v1 IS 'Stable views for other systems. Columns are added, never changed or taken away.';

CREATE FUNCTION api_v1.horizon() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS
    $$ SELECT base + pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM raw.feed_base $$;
COMMENT ON FUNCTION api_v1.horizon() IS
    'The cursor below which nothing is added any more: every transaction before it has ended.';

CREATE VIEW api_v1.devices AS
SELECT device.id AS device_id,
       device.protocol,
       device.ident,
       device.name,
       device.state,
       device.created_at,
       device.state_since,
       latest.time AS latest_time,
       latest.received_at AS latest_received_at
FROM ref.device
LEFT JOIN raw.latest_position AS latest ON latest.device_id = device.id;

COMMENT ON VIEW api_v1.devices IS 'The register of devices, quarantined and retired ones included.';
COMMENT ON COLUMN api_v1.devices.device_id IS 'Number of the device in this system';
COMMENT ON COLUMN api_v1.devices.protocol IS 'Protocol it speaks, such as gt06';
COMMENT ON COLUMN api_v1.devices.ident IS 'What it calls itself: IMEI, terminal number, user; unique within the protocol';
COMMENT ON COLUMN api_v1.devices.name IS 'Name given by people, or null';
COMMENT ON COLUMN api_v1.devices.state IS 'active, quarantined (unknown, shown nowhere else until adopted) or retired';
COMMENT ON COLUMN api_v1.devices.created_at IS 'When it was entered';
COMMENT ON COLUMN api_v1.devices.state_since IS 'When it came into its state';
COMMENT ON COLUMN api_v1.devices.latest_time IS 'Time of its newest valid fix, or null';
COMMENT ON COLUMN api_v1.devices.latest_received_at IS 'When that fix arrived here, or null';

CREATE VIEW api_v1.latest_positions AS
SELECT device.id AS device_id,
       device.protocol,
       device.ident,
       device.name,
       latest.time,
       latest.latitude_deg AS latitude,
       latest.longitude_deg AS longitude,
       latest.altitude_m,
       latest.speed_mps,
       latest.course_deg,
       latest.accuracy_m,
       latest.satellites,
       latest.source,
       latest.identity_strength,
       latest.received_at,
       coalesce(latest.telemetry, '{}') AS telemetry
FROM raw.latest_position AS latest
JOIN ref.device ON device.id = latest.device_id
WHERE device.state = 'active';

COMMENT ON VIEW api_v1.latest_positions IS 'The newest valid fix of each active device. It never goes back when late data arrive.';

CREATE VIEW api_v1.positions AS
SELECT position.device_id,
       device.protocol,
       device.ident,
       device.name,
       position.time,
       position.latitude_deg AS latitude,
       position.longitude_deg AS longitude,
       position.altitude_m,
       position.speed_mps,
       position.course_deg,
       position.accuracy_m,
       position.hdop,
       position.satellites,
       position.valid,
       position.source,
       position.time_source,
       position.mock,
       position.identity_strength,
       position.durability,
       position.received_at,
       position.frame_id,
       coalesce(position.telemetry, '{}') AS telemetry,
       coalesce(position.cells, '[]') AS cells,
       coalesce(position.wifi, '[]') AS wifi,
       coalesce(position.sky, '[]') AS sky,
       position.ingest AS cursor
FROM raw.position
JOIN ref.device ON device.id = position.device_id
WHERE device.state <> 'quarantined';

COMMENT ON VIEW api_v1.positions IS 'Every fix of every active or retired device, once. Ask with a range of time: days lie in partitions.';

CREATE VIEW api_v1.events AS
SELECT event.device_id,
       device.protocol,
       device.ident,
       device.name,
       event.time,
       event.kind,
       coalesce(event.alarms, '{}') AS alarms,
       event.detail,
       event.token,
       coalesce(event.telemetry, '{}') AS telemetry,
       coalesce(event.cells, '[]') AS cells,
       coalesce(event.wifi, '[]') AS wifi,
       event.device_time,
       event.received_at,
       event.contact_id,
       event.frame_id,
       event.ingest AS cursor
FROM raw.device_event AS event
LEFT JOIN ref.device ON device.id = event.device_id
WHERE device.state IS DISTINCT FROM 'quarantined';

COMMENT ON VIEW api_v1.events IS 'What devices sent besides fixes: logins, heartbeats, states, alarms, answers to commands, frames that nobody could read.';

CREATE VIEW api_v1.contacts AS
SELECT contact.id AS contact_id,
       contact.device_id,
       device.protocol,
       device.ident,
       device.name,
       contact.opened_at AS time,
       contact.closed_at,
       contact.cause,
       contact.detail,
       contact.source,
       contact.transport,
       contact.peer,
       contact.strength AS identity_strength,
       contact.frames,
       contact.bytes_in AS received_bytes
FROM raw.contact
LEFT JOIN ref.device ON device.id = contact.device_id
WHERE device.state IS DISTINCT FROM 'quarantined';

COMMENT ON VIEW api_v1.contacts IS 'Links of devices to the gateway, from the first frame to the end. One without an end is open, or ended together with the gateway.';
COMMENT ON COLUMN api_v1.contacts.contact_id IS 'Number of the contact';
COMMENT ON COLUMN api_v1.contacts.time IS 'When the link was opened';
COMMENT ON COLUMN api_v1.contacts.closed_at IS 'When it ended, or null';
COMMENT ON COLUMN api_v1.contacts.cause IS 'How it ended: peer, idle, error, protocol, limit, storage, shutdown; or null';
COMMENT ON COLUMN api_v1.contacts.detail IS 'More about the end, in words';
COMMENT ON COLUMN api_v1.contacts.source IS 'The configured source it came in by';
COMMENT ON COLUMN api_v1.contacts.transport IS 'tcp, udp, tls, serial, mqtt';
COMMENT ON COLUMN api_v1.contacts.peer IS 'The other end: address and port, port path or topic';
COMMENT ON COLUMN api_v1.contacts.frames IS 'Frames received, known once it has ended';
COMMENT ON COLUMN api_v1.contacts.received_bytes IS 'Bytes received (byte), known once it has ended';

CREATE VIEW api_v1.changes AS
SELECT position.ingest AS cursor,
       'position'::text AS kind,
       position.device_id,
       device.protocol,
       device.ident,
       device.name,
       position.time,
       position.latitude_deg AS latitude,
       position.longitude_deg AS longitude,
       position.altitude_m,
       position.speed_mps,
       position.course_deg,
       position.accuracy_m,
       position.valid,
       NULL::text[] AS alarms,
       NULL::text AS detail,
       coalesce(position.telemetry, '{}') AS telemetry,
       position.received_at
FROM raw.position
JOIN ref.device ON device.id = position.device_id
WHERE device.state <> 'quarantined'
  AND position.ingest < (SELECT api_v1.horizon())
UNION ALL
SELECT event.ingest,
       event.kind,
       event.device_id,
       device.protocol,
       device.ident,
       device.name,
       event.time,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       coalesce(event.alarms, '{}'),
       event.detail,
       coalesce(event.telemetry, '{}'),
       event.received_at
FROM raw.device_event AS event
LEFT JOIN ref.device ON device.id = event.device_id
WHERE device.state IS DISTINCT FROM 'quarantined'
  AND event.ingest < (SELECT api_v1.horizon());

COMMENT ON VIEW api_v1.changes IS
    'Fixes and events in the order in which they became final. Keep the largest cursor seen and ask for greater ones; nothing is ever added at or below it. LISTEN truetrack_changes wakes up a reader.';
COMMENT ON COLUMN api_v1.changes.cursor IS 'Position in the feed; all rows of one transaction share it';
COMMENT ON COLUMN api_v1.changes.kind IS 'position, or the kind of an event: login, heartbeat, status, alarm, command_result, rejected';
COMMENT ON COLUMN api_v1.changes.valid IS 'For a position the receiver''s own verdict; false also for a last known position';
COMMENT ON COLUMN api_v1.changes.alarms IS 'For an event, what it raised an alarm about';
COMMENT ON COLUMN api_v1.changes.detail IS 'For an event, text: an answer to a command, why a frame was rejected';

-- The end of the page is looked up branch by branch, each along its index; over the view as a
-- whole the planner would sort everything that is still to come.
CREATE FUNCTION api_v1.changes(after bigint, at_least integer DEFAULT 1000)
RETURNS SETOF api_v1.changes LANGUAGE sql STABLE AS $$
    SELECT feed.* FROM api_v1.changes AS feed
    WHERE feed.cursor > after
      AND feed.cursor <= (
          SELECT max(page.cursor) FROM (
              SELECT each.cursor FROM (
                  (SELECT position.cursor FROM api_v1.positions AS position
                   WHERE position.cursor > after
                     AND position.cursor < (SELECT api_v1.horizon())
                   ORDER BY position.cursor LIMIT at_least)
                  UNION ALL
                  (SELECT event.cursor FROM api_v1.events AS event
                   WHERE event.cursor > after
                     AND event.cursor < (SELECT api_v1.horizon())
                   ORDER BY event.cursor LIMIT at_least)) AS each
              ORDER BY each.cursor LIMIT at_least) AS page)
    ORDER BY feed.cursor, feed.time
$$;
COMMENT ON FUNCTION api_v1.changes(bigint, integer) IS
    'The next rows of the view changes after a cursor: at least so many if there are, and always whole transactions, so that the largest cursor returned is where to go on.';

-- What the same word means in every view it occurs in.
DO $$
DECLARE
    word record;
BEGIN
    FOR word IN
        SELECT format('COMMENT ON COLUMN api_v1.%I.%I IS %L', class.relname, attname, meaning) AS run
        FROM (VALUES
            ('device_id', 'Number of the device, see devices; null where the frame bore no identity'),
            ('protocol', 'Protocol the device speaks'),
            ('ident', 'What the device calls itself: IMEI, terminal number, user'),
            ('name', 'Name of the device given by people, or null'),
            ('time', 'When it happened by the device''s clock (UTC); for an event without one, when it was received'),
            ('latitude', 'Latitude (degree, WGS-84, north positive)'),
            ('longitude', 'Longitude (degree, WGS-84, east positive)'),
            ('altitude_m', 'Altitude above mean sea level (m)'),
            ('speed_mps', 'Speed over ground (m/s)'),
            ('course_deg', 'Course over ground (degree, clockwise from north, 0 <= course < 360)'),
            ('accuracy_m', 'Radius of uncertainty as the device estimates it (m)'),
            ('hdop', 'Horizontal dilution of precision (1)'),
            ('satellites', 'Satellites used in the fix (1)'),
            ('valid', 'The receiver''s own verdict; false also for a last known position'),
            ('source', 'What the position was made from: gnss, wifi, cell, fused, estimated, simulated, manual'),
            ('time_source', 'Where time comes from: device, date_assumed, received'),
            ('mock', 'True when the platform says that the position was injected; null when it does not say'),
            ('identity_strength', 'How the contact showed who it is: none, network, token, mtls'),
            ('durability', 'What the device''s receipt rested on: commit, spool, broker'),
            ('received_at', 'When it arrived at the gateway (UTC)'),
            ('frame_id', 'Number of the archived frame it was read from'),
            ('contact_id', 'Number of the contact it came over, see contacts'),
            ('telemetry', 'Other values by name, the unit is the end of the name: odometer_m, battery_v, io_<id>'),
            ('cells', 'Mobile cells heard: mcc, mnc, lac, cid, rssi_dbm (dBm)'),
            ('wifi', 'Wi-Fi access points heard: mac, rssi_dbm (dBm)'),
            ('sky', 'Satellites seen: system, svid, signal, elevation_deg, azimuth_deg, cn0_dbhz (dBHz), used'),
            ('kind', 'login, heartbeat, status, alarm, command_result or rejected'),
            ('alarms', 'What it raised an alarm about'),
            ('detail', 'Text: an answer to a command, why a frame was rejected'),
            ('token', 'What ties an answer to its command, where the protocol has it'),
            ('device_time', 'Time the device stated (UTC), plausible or not'),
            ('cursor', 'Number of the transaction that wrote the row; see changes')
        ) AS words (name, meaning)
        JOIN pg_attribute ON attname = words.name AND attnum > 0
        JOIN pg_class AS class ON class.oid = attrelid AND class.relkind = 'v'
        JOIN pg_namespace AS space ON space.oid = class.relnamespace AND space.nspname = 'api_v1'
        WHERE col_description(class.oid, attnum) IS NULL
    LOOP
        EXECUTE word.run;
    END LOOP;
END $$;
